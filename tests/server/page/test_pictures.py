"""What the browser sends becomes images and masks, or a sentence."""

from __future__ import annotations

import numpy as np
import pytest

from v2l.errors import V2LError
from v2l.server.page.pictures import brushed_mask, read_photograph


def layer(height: int, width: int, rows: slice) -> np.ndarray:
    """Colour in some rows of an editor's layer."""
    pixels = np.zeros((height, width, 4), dtype=np.uint8)
    pixels[rows, :, :] = 255
    return pixels


def test_a_photograph_is_read_as_v2l_reads_files(samples):
    assert read_photograph(str(samples / "shoes" / "boots.jpg")).shape == (3, 298, 224)


def test_a_missing_photograph_is_a_sentence():
    with pytest.raises(V2LError, match="choose one first"):
        read_photograph(None)


def test_a_broken_photograph_is_named_without_the_server_folder(tmp_path):
    (tmp_path / "cat.png").write_text("no picture")
    with pytest.raises(V2LError, match=r"^cat\.png is no image") as caught:
        read_photograph(str(tmp_path / "cat.png"))
    assert str(tmp_path) not in str(caught.value)


def test_what_is_brushed_on_any_layer_is_masked():
    drawing = {"layers": [layer(6, 4, slice(0, 1)), layer(6, 4, slice(5, 6))]}
    mask = brushed_mask(drawing, (6, 4))
    assert mask[[0, 5]].all()
    assert not mask[1:5].any()


def test_a_mask_brushed_on_a_smaller_view_covers_the_same_part():
    mask = brushed_mask({"layers": [layer(5, 4, slice(0, 2))]}, (10, 8))
    assert mask[:4].all()
    assert not mask[4:].any()


@pytest.mark.parametrize("drawing", [None, {"layers": []}, {"layers": [np.zeros((4, 4, 4), np.uint8)]}])
def test_an_empty_drawing_is_a_sentence(drawing):
    with pytest.raises(V2LError, match="nothing is brushed yet"):
        brushed_mask(drawing, (4, 4))

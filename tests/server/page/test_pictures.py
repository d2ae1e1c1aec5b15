"""What the browser sends becomes images and masks, or a sentence."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from v2l.errors import V2LError
from v2l.server.page.drawings import LARGEST_LAYER, MOST_DRAWINGS, Drawings
from v2l.server.page.pictures import brushed_mask, read_photograph

LARGE = bytes(LARGEST_LAYER + 1)


def layer(height: int, width: int, rows: slice) -> bytes:
    """A PNG with colour in some rows, as an editor sends its layers."""
    pixels, content = np.zeros((height, width, 4), dtype=np.uint8), BytesIO()
    pixels[rows, :, :] = 255
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


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
    drawing = [layer(6, 4, slice(0, 1)), layer(6, 4, slice(5, 6))]
    mask = brushed_mask(drawing, (6, 4))
    assert mask[[0, 5]].all()
    assert not mask[1:5].any()


def test_a_mask_brushed_on_a_smaller_view_covers_the_same_part():
    mask = brushed_mask([layer(5, 4, slice(0, 2))], (10, 8))
    assert mask[:4].all()
    assert not mask[4:].any()


@pytest.mark.parametrize("drawing", [[], [layer(4, 4, slice(0, 0))]])
def test_an_empty_drawing_is_a_sentence(drawing):
    with pytest.raises(V2LError, match="nothing is brushed yet"):
        brushed_mask(drawing, (4, 4))


def test_a_photograph_of_too_many_pixels_is_a_sentence(tmp_path):
    Image.new("1", (5001, 5000)).save(tmp_path / "wide.png")
    with pytest.raises(V2LError, match=r"^wide\.png is enormous"):
        read_photograph(str(tmp_path / "wide.png"))
    with pytest.raises(V2LError, match="the drawing is enormous"):
        brushed_mask([(tmp_path / "wide.png").read_bytes()], (4, 4))


def sent(name: str, index: str, kind: str = "layer", content: bytes = b"png") -> SimpleNamespace:
    """A part of a drawing, as gradio hands it over."""
    return SimpleNamespace(data={"id": name, "type": kind, "index": index}, files=[("blob", content)])


def test_few_and_small_drawings_are_kept():
    drawings = Drawings()
    drawings.accept(sent("a", "null", "background"))
    for number in range(MOST_DRAWINGS + 1):
        drawings.accept(sent(f"drawing {number}", "0"))
    taken = [drawings.take(SimpleNamespace(id=f"drawing {number}")) for number in (0, 1, 1)]
    assert taken == [[], [b"png"], []]
    for large in (
        sent("a", "1000000000"),
        sent("a", "-1"),
        sent("a" * 99, "0"),
        sent("a", "0", "layer", LARGE),
    ):
        with pytest.raises(ValueError, match="too large"):
            drawings.accept(large)

"""A canvas is filled by its photographs, each in its own box."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch

from v2l.canvases import GRIDS, draw_canvas, fill
from v2l.images import save_image


@pytest.mark.parametrize("number", GRIDS)
def test_each_photograph_fills_its_box_and_boxes_fill_the_canvas(number: int, tmp_path: Path) -> None:
    files = tuple(tmp_path / f"{place}.png" for place in range(number))
    for place, file in enumerate(files):
        save_image(torch.full((3, 20, 30), place / 10), file)
    canvas = draw_canvas(files, Random(3))
    assert canvas == draw_canvas(files, Random(3)) != draw_canvas(files, Random(4))
    picture = canvas.picture()
    assert picture.shape == (3, *canvas.size)
    for place, (left, top, right, bottom) in enumerate(canvas.boxes):
        x, y = int((left + right) / 2 * canvas.size[1]), int((top + bottom) / 2 * canvas.size[0])
        assert picture[0, y, x] == pytest.approx(place / 10, abs=0.01)
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in canvas.boxes) == pytest.approx(
        1
    )


def test_filling_crops_what_is_over() -> None:
    image = torch.zeros(3, 10, 40)
    image[:, :, 14:26] = 1
    assert float(fill(image, (20, 20)).min()) > 0.9

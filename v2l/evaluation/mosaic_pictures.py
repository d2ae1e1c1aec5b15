"""photographs of known classes ──► mosaics: canvases of 2, 4, 6 or 9 photographs with known boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from torch import Tensor

from v2l.canvases import GRIDS, Canvas, draw_canvas
from v2l.errors import V2LError
from v2l.evaluation.class_names import ClassNames
from v2l.places import Box
from v2l.sources import ImageFile


@dataclass(frozen=True)
class Photograph:
    """One image file and the names of its class."""

    file: ImageFile
    names: ClassNames


@dataclass(frozen=True)
class Mosaic:
    """One canvas with the photographs on it.

    Attributes:
        photographs: in raster order.
        canvas: their files, boxes and size.
    """

    photographs: tuple[Photograph, ...]
    canvas: Canvas

    @property
    def files(self) -> tuple[ImageFile, ...]:
        """The photographs' files."""
        return self.canvas.files

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The photographs' boxes, in shares of the canvas."""
        return self.canvas.boxes

    def picture(self) -> Tensor:
        """(3, H, W) float32 in [0, 1].

        Raises:
            V2LError: a file is no readable image.
        """
        return self.canvas.picture()


def draw_mosaics(photographs: Sequence[Photograph], number: int, count: int, seed: int) -> list[Mosaic]:
    """Draw mosaics of photographs of different classes; equal arguments give equal mosaics.

    Args:
        photographs: at least `number` classes among them.
        number: photographs a mosaic, a key of `v2l.canvases.GRIDS`.
        count: mosaics.
        seed: of the photographs and of the borders between them.

    Raises:
        V2LError: too few classes.
    """
    classes = len({photograph.names for photograph in photographs})
    if classes < number:
        allowed = ",".join(str(fewer) for fewer in GRIDS if fewer <= classes)
        raise V2LError(
            f"got photographs of {classes} class(es) for mosaics of {number}",
            "as many classes as photographs a mosaic",
            f"--photographs {allowed}" if allowed else "photographs of more classes",
        )
    mosaics = []
    for index in range(count):
        random = Random(f"{seed}/{number}/{index}")
        chosen: dict[ClassNames, Photograph] = {}
        for photograph in random.sample(photographs, len(photographs)):
            if len(chosen) < number:
                chosen.setdefault(photograph.names, photograph)
        files = tuple(photograph.file for photograph in chosen.values())
        mosaics.append(Mosaic(tuple(chosen.values()), draw_canvas(files, random)))
    return mosaics

"""large image ──► square tiles at its own scale, restored one by one ──► one image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from v2l.corruptions import Corruption
from v2l.errors import V2LError
from v2l.masks import check_mask
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress
from v2l.tasks.restoration.inpaint import Inpainted, inpaint
from v2l.tasks.restoration.repair import repair
from v2l.tasks.restoration.settings import RestorationSettings, settings_or_default
from v2l.tasks.restoration.token_prediction import WindowPrediction


@dataclass(frozen=True)
class Tile:
    """A square of an image.

    Attributes:
        top: its first row.
        left: its first column.
        side: rows and columns.
    """

    top: int
    left: int
    side: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The slices that cut it out of (…, H, W)."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)


@dataclass(frozen=True)
class Tiled:
    """An image that was restored tile by tile.

    Attributes:
        image: (3, H, W) in [0, 1].
        log: for each tile in the order of work: the tile, its predicted windows, and its tokens (h, w).
    """

    image: Tensor
    log: tuple[tuple[Tile, tuple[WindowPrediction, ...], Tensor], ...]

    @property
    def grids(self) -> list[Tensor]:
        """The tokens of every tile, (h, w) each."""
        return [grid for _, _, grid in self.log]

    @property
    def predictions(self) -> list[WindowPrediction]:
        """The windows of all tiles, in the order of prediction."""
        return [window for _, windows, _ in self.log for window in windows]


def tiles(size: tuple[int, int], side: int, step: int) -> list[Tile]:
    """Squares that cover an image and overlap by at least `side` − `step` pixels.

    The last ones end at its edge.

    Args:
        size: (H, W), neither below `side`.
        side: of a square, in pixels.
        step: from one square to the next, 1 to `side`.
    """
    rows, columns = (starts(length, side, step) for length in size)
    return [Tile(top, left, side) for top in rows for left in columns]


def starts(length: int, side: int, step: int) -> list[int]:
    """The first pixel of every square along one axis."""
    last = length - side
    return sorted({*range(0, last, step), last})


def tile_side(pipeline: Pipeline, image: Tensor) -> int:
    """The side of a tile: the image size of the model.

    Raises:
        V2LError: the image is smaller.
    """
    side = pipeline.grid.config.model.image_size
    if min(image.shape[-2:]) < side:
        got = f"got an image of {image.shape[-1]} × {image.shape[-2]} pixels, smaller than one tile"
        raise V2LError(got, f"{side} pixels and more a side", "the same command without --tiles")
    return side


def inpaint_tiles(
    pipeline: Pipeline,
    image: Tensor,
    mask: Tensor,
    settings: RestorationSettings | None = None,
    progress: Progress | None = None,
    examples: Sequence[Tensor] = (),
) -> Tiled:
    """Fill the masked part at the image's own scale, from its edges inwards.

    A filled tile is context for the next one.

    Args:
        pipeline: tokenizer and LLM; a tile is as large as its model's images.
        image: (3, H, W) float32 in [0, 1]; masked pixels are never used.
        mask: (H, W) bool, True where to fill.
        settings: as `inpaint`.
        progress: called as ("pixels", pixels filled, masked pixels) after each tile.
        examples: other images (3, H, W).

    Raises:
        V2LError: the mask has another size, is empty or full, the image is smaller than a tile, or a prompt
            is longer than the LLM's context.
    """
    check_mask(mask, (image.shape[-2], image.shape[-1]))
    side = tile_side(pipeline, image)
    filled, missing = image.clone(), mask.clone()
    log = []
    for tile in from_the_edge(missing, tiles((image.shape[-2], image.shape[-1]), side, side // 2)):
        cut = tile.slices
        done: Inpainted = inpaint(pipeline, filled[:, *cut], missing[cut], settings, examples=examples)
        filled[:, *cut] = done.image
        missing[cut] = False
        log.append((tile, done.log, done.tokens.local_ids[0]))
        if progress:
            progress("pixels", int(mask.sum() - missing.sum()), int(mask.sum()))
    return Tiled(filled, tuple(log))


def from_the_edge(missing: Tensor, places: Sequence[Tile]) -> Iterator[Tile]:
    """The tiles with missing pixels, the one with the fewest first.

    The caller clears `missing` in each tile that it gets, and the next tile is chosen by what is left.
    """
    while missing.any():
        counts = {tile: int(missing[tile.slices].sum()) for tile in places}
        yield min((tile for tile in places if counts[tile]), key=lambda tile: counts[tile])


def repair_tiles(
    pipeline: Pipeline,
    image: Tensor,
    corruption: Corruption,
    examples: Sequence[Tensor],
    settings: RestorationSettings | None = None,
    progress: Progress | None = None,
) -> Tiled:
    """Restore an image at its own scale after a corruption that moves no content (a blur).

    Overlapping tiles are averaged.

    Args:
        pipeline: tokenizer and LLM.
        image: (3, H, W) float32 in [0, 1].
        corruption: one that moves nothing.
        examples: clean images (3, H, W).
        settings: as `repair`; tile i draws with the i-th seed after the settings'.
        progress: called as ("tiles", tiles done, all tiles).

    Raises:
        V2LError: the image is smaller than a tile, there are no examples, or a prompt is longer than the
            LLM's context.
    """
    side = tile_side(pipeline, image)
    settings = settings_or_default(settings, pipeline)
    total, count = torch.zeros_like(image), torch.zeros(image.shape[-2:])
    places, log = tiles((image.shape[-2], image.shape[-1]), side, side * 3 // 4), []
    for number, tile in enumerate(places):
        cut = tile.slices
        seeded = replace(settings, seed=settings.seed + number)
        done = repair(pipeline, image[:, *cut], corruption, examples, seeded)
        total[:, *cut] += done.image
        count[cut] += 1
        log.append((tile, done.log, done.tokens.local_ids[0]))
        if progress:
            progress("tiles", number + 1, len(places))
    return Tiled(total / count, tuple(log))

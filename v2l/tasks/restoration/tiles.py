"""a large image ──► squares at its own scale, restored one by one with what is around them, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from v2l.corruptions import Corruption
from v2l.errors import V2LError
from v2l.images import check_mask
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.inpaint import Inpainted, inpaint
from v2l.tasks.restoration.repair import repair
from v2l.tasks.restoration.token_prediction import ADAPTER, BLIND, RestorationSettings, WindowPrediction

Progress = Callable[[int, int], None]


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
        """To cut it out of (…, H, W)."""
        return slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)


@dataclass(frozen=True)
class Tiled:
    """What came of all tiles.

    Attributes:
        image: (3, H, W) in [0, 1].
        log: of each tile in the order of work: the tile, the windows told in it, and its tokens (h, w).
    """

    image: Tensor
    log: tuple[tuple[Tile, tuple[WindowPrediction, ...], Tensor], ...]

    @property
    def grids(self) -> list[Tensor]:
        """The tokens of every tile, (h, w) each."""
        return [grid for _, _, grid in self.log]

    @property
    def told(self) -> list[WindowPrediction]:
        """The windows of all tiles, in the order told."""
        return [window for _, told, _ in self.log for window in told]


def tiles(size: tuple[int, int], side: int, step: int) -> list[Tile]:
    """Squares that cover an image and overlap by `side` − `step` at least; the last ones end at its edge.

    Args:
        size: (H, W), neither below `side`.
        side: of a square, in pixels.
        step: from one to the next, 1 to `side`.
    """
    rows, columns = (starts(length, side, step) for length in size)
    return [Tile(top, left, side) for top in rows for left in columns]


def starts(length: int, side: int, step: int) -> list[int]:
    """Where squares begin along one axis."""
    last = length - side
    return sorted({*range(0, last, step), last})


def tile_side(pipeline: Pipeline, image: Tensor) -> int:
    """The side of a tile: that of the model's images.

    Raises:
        V2LError: the image is smaller.
    """
    side = pipeline.tokenizer.config.model.image_size
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
    """Paint what a mask hides at the image's own scale, from its edges inwards: what is painted is context for the next tile.

    Args:
        pipeline: tokenizer and LLM; a tile is as large as its model's images.
        image: (3, H, W) float32 in [0, 1]; the pixels under the mask are never used.
        mask: (H, W) bool, True where to paint.
        settings: how the LLM is asked.
        progress: told (pixels painted, pixels in all) after each tile.
        examples: other images (3, H, W).

    Raises:
        V2LError: the mask does not fit, is empty or full, or the prompt is longer than the LLM's context.
    """
    check_mask(mask, (image.shape[-2], image.shape[-1]))
    side = tile_side(pipeline, image)
    painted, missing = image.clone(), mask.clone()
    log = []
    for tile in from_the_edge(missing, tiles((image.shape[-2], image.shape[-1]), side, side // 2)):
        cut = tile.slices
        done: Inpainted = inpaint(pipeline, painted[:, *cut], missing[cut], settings, examples=examples)
        painted[:, *cut] = done.image
        missing[cut] = False
        log.append((tile, done.log, done.tokens.local_ids[0]))
        if progress:
            progress(int(mask.sum() - missing.sum()), int(mask.sum()))
    return Tiled(painted, tuple(log))


def from_the_edge(missing: Tensor, places: Sequence[Tile]) -> Iterator[Tile]:
    """Tiles with something missing, the one with the most to see first; asked again after each, since the caller fills them."""
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
    """Restore an image that was damaged in place (blurred) at its own scale; where tiles overlap, their pictures are averaged.

    Args:
        pipeline: tokenizer and LLM.
        image: (3, H, W) float32 in [0, 1].
        corruption: a damage that moves nothing.
        examples: clean images (3, H, W).
        settings: how the LLM is asked.
        progress: told (tiles done, tiles in all).

    Raises:
        V2LError: there are no examples, or the prompt is longer than the LLM's context.
    """
    side = tile_side(pipeline, image)
    settings = settings or (ADAPTER if pipeline.adapter else BLIND)
    total, count = torch.zeros_like(image), torch.zeros(image.shape[-2:])
    places, log = tiles((image.shape[-2], image.shape[-1]), side, side * 3 // 4), []
    for number, tile in enumerate(places):
        cut = tile.slices
        done = repair(
            pipeline, image[:, *cut], corruption, examples, replace(settings, seed=settings.seed + number)
        )
        total[:, *cut] += done.image
        count[cut] += 1
        log.append((tile, done.log, done.tokens.local_ids[0]))
        if progress:
            progress(number + 1, len(places))
    return Tiled(total / count, tuple(log))

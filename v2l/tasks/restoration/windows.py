"""mask of pixels ──► hidden cells of the token grid, the windows to predict, and examples for their prompts.

Cells are numbered in raster order. No image and no LLM is used here.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from v2l.prompts.denoise import Window


class TokenMap(NamedTuple):
    """The tokens of one image, flat.

    Attributes:
        ids: h · w token ids in raster order.
        hidden: which of them must not be used.
        width: w.
    """

    ids: Sequence[int]
    hidden: Sequence[bool]
    width: int


def hidden_cells(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """The cells with at least one masked pixel.

    Args:
        mask: (H, W) bool.
        grid: (h, w), laid over the whole image.

    Returns:
        (h, w) bool.
    """
    # (1, H, W) → (1, h, w): the maximum over each cell, whether the grid divides the image or not
    return adaptive_max_pool2d(mask[None].float(), grid)[0] > 0


def hidden_windows(hidden: Sequence[bool], size: int) -> list[list[int]]:
    """Runs of at most `size` neighbouring hidden cells, in raster order; each hidden cell is in one.

    Args:
        hidden: h · w, in raster order.
        size: how many tokens the LLM predicts at once.
    """
    windows: list[list[int]] = []
    for cell, is_hidden in enumerate(hidden):
        if not is_hidden:
            continue
        if windows and windows[-1][-1] == cell - 1 and len(windows[-1]) < size:
            windows[-1].append(cell)
        else:
            windows.append([cell])
    return windows


def context_cells(known: Sequence[bool], start: int, count: int) -> list[int]:
    """The last `count` known cells before `start`, in raster order; the last cell precedes the first one.

    Args:
        known: h · w: visible, or predicted by now.
        start: the first cell of a window.
        count: how many; fewer when fewer are known.
    """
    # All other cells, from the one after `start` round to the one before it.
    cycle = [(start + step) % len(known) for step in range(1, len(known))]
    return [cell for cell in cycle if known[cell]][-count:]


def cells_above(known: Sequence[bool], window: Sequence[int], count: int, width: int) -> list[int]:
    """The known ones among `count` cells of the row above a window, centred over it, in raster order.

    Args:
        known: h · w: visible, or predicted by now.
        window: neighbouring cells; the row above is that of the first one.
        count: how many at most.
        width: w.
    """
    row, column = divmod(window[0], width)
    first = column - (count - len(window)) // 2
    columns = range(max(0, first), min(width, first + count))
    return [(row - 1) * width + place for place in columns if row > 0 and known[(row - 1) * width + place]]


def centre_out(windows: Sequence[list[int]], grid: tuple[int, int]) -> list[list[int]]:
    """Sort windows by the distance of their middle from the middle of the grid; ties keep their order.

    Args:
        windows: cells in raster order.
        grid: (h, w).
    """
    height, width = grid

    def distance(window: list[int]) -> float:
        row, column = divmod(sum(window) / len(window), width)
        return (row - (height - 1) / 2) ** 2 + (column - (width - 1) / 2) ** 2

    return sorted(windows, key=distance)


def nearest_visible(visible: Tensor, cell: int, count: int) -> list[int]:
    """Raster numbers of the `count` visible cells nearest to a cell; of equal distances the first.

    Args:
        visible: (h, w) bool.
        cell: a raster number.
        count: how many; fewer when fewer are visible.
    """
    row, column = divmod(cell, visible.shape[1])
    places = visible.nonzero()  # (n, 2): rows and columns in raster order
    distances = (places - torch.tensor([row, column])).square().sum(dim=1)
    nearest = places[distances.sort(stable=True).indices[:count]]
    numbers: list[int] = (nearest[:, 0] * visible.shape[1] + nearest[:, 1]).tolist()
    return numbers


class WindowContext(NamedTuple):
    """Which cells around a window a prompt shows.

    Attributes:
        width: w of the grid.
        n_context: known cells before the window, in raster order.
        n_predict: cells of a window.
        n_above: cells of the row above it.
    """

    width: int
    n_context: int = 16
    n_predict: int = 2
    n_above: int = 0

    def cells(self, known: Sequence[bool], window: Sequence[int]) -> list[int]:
        """The cells that a prompt shows: those above, then those before; fewer when fewer are known."""
        before = context_cells(known, window[0], self.n_context) if self.n_context else []
        return [*cells_above(known, window, self.n_above, self.width), *before]

    def visible_stretches(self, hidden: Sequence[bool]) -> list[tuple[list[int], list[int]]]:
        """Every place with a visible window and context: (cells that a prompt shows, cells of the window)."""
        known, length = [not is_hidden for is_hidden in hidden], self.n_context + self.n_predict
        places = []
        for start in range(len(hidden) - length + 1):
            window = list(range(start + self.n_context, start + length))
            above = cells_above(known, window, self.n_above, self.width)
            if all(known[start : start + length]) and len(above) == self.n_above:
                places.append(([*above, *range(start, start + self.n_context)], window))
        return places


def visible_examples(
    maps: Sequence[TokenMap], context: WindowContext, count: int, random: Random
) -> list[Window]:
    """Draw examples from images: stretches of visible cells, their first tokens given, their last missing.

    Args:
        maps: token ids of images, with the hidden ones marked.
        context: which cells a prompt shows.
        count: how many examples; fewer when the visible parts hold fewer stretches.
        random: draws the stretches, when there are more.
    """
    places = [
        (ids, *place)
        for ids, hidden, width in maps
        for place in context._replace(width=width).visible_stretches(hidden)
    ]
    chosen = random.sample(places, min(count, len(places)))
    return [
        Window(tuple(ids[cell] for cell in given), tuple(ids[cell] for cell in missing))
        for ids, given, missing in chosen
    ]

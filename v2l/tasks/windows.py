"""a mask of pixels ──► the cells that it hides, the windows to be told, and the examples to tell them from.

Plain bookkeeping on the token grid in raster order; no image and no LLM is seen here.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from v2l.prompts.denoise import Window


def hidden_cells(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """The cells of which the mask touches any pixel.

    Args:
        mask: (H, W) bool.
        grid: (h, w), laid over the whole image.

    Returns:
        (h, w) bool.
    """
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
    """The last `count` known cells before `start`, in raster order; before the first cell stands the last one.

    Args:
        known: h · w: seen from the beginning, or told by now.
        start: the first cell of a window.
        count: how many; fewer when fewer are known.
    """
    around = [(start + step) % len(known) for step in range(1, len(known))]  # from the cell after `start` round to the one before it
    return [cell for cell in around if known[cell]][-count:]


def nearest_visible(visible: Tensor, cell: int, count: int) -> list[int]:
    """Raster numbers of the `count` visible cells nearest to a cell on the grid; of equally near ones the first.

    Args:
        visible: (h, w) bool.
        cell: a raster number.
        count: how many; fewer when fewer are visible.
    """
    row, column = divmod(cell, visible.shape[1])
    places = visible.nonzero()  # (n, 2): rows and columns in raster order
    distances = (places - torch.tensor([row, column])).square().sum(dim=1)
    nearest = places[distances.sort(stable=True).indices[:count]]
    return (nearest[:, 0] * visible.shape[1] + nearest[:, 1]).tolist()


def visible_examples(ids: Sequence[int], hidden: Sequence[bool], lengths: tuple[int, int], count: int, random: Random) -> list[Window]:
    """Examples of the image itself: stretches of visible cells, their first tokens given and their last ones missing.

    Args:
        ids: h · w token ids, in raster order.
        hidden: which of them must not be looked at.
        lengths: how many tokens are given, and how many missing.
        count: how many examples; fewer when the visible part holds fewer stretches.
        random: which stretches, when there are more.
    """
    given, missing = lengths
    starts = [start for start in range(len(ids) - given - missing + 1) if not any(hidden[start : start + given + missing])]
    chosen = random.sample(starts, min(count, len(starts)))
    return [Window(tuple(ids[start : start + given]), tuple(ids[start + given : start + given + missing])) for start in chosen]

"""image or token grid with a hole ──► the hole filled without an LLM: the baselines (with OpenCV)."""

from __future__ import annotations

from random import Random

import cv2
import torch
from torch import Tensor

from v2l.tasks.restoration.token_prior import CellCandidates
from v2l.tasks.restoration.windows import nearest_visible

TELEA_RADIUS = 3  # pixels around each that Telea's method reads, as in OpenCV's own example


def mean_fill(image: Tensor, mask: Tensor) -> Tensor:
    """The mean colour of the visible pixels in the hole.

    Args:
        image: (3, H, W) in [0, 1].
        mask: (H, W) bool, True in the hole.
    """
    return torch.where(mask, image[:, ~mask].mean(dim=1)[:, None, None], image)


def telea_fill(image: Tensor, mask: Tensor) -> Tensor:
    """OpenCV's inpainting by fast marching (Telea, 2004).

    Args:
        image: (3, H, W) in [0, 1]; masked pixels are not used.
        mask: (H, W) bool, True in the hole.
    """
    pixels = torch.where(mask, 0.0, image).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
    filled = cv2.inpaint(pixels, mask.byte().numpy(), TELEA_RADIUS, cv2.INPAINT_TELEA)
    return torch.where(mask, torch.from_numpy(filled).permute(2, 0, 1).float().div(255), image)


def nearest_token_fill(ids: Tensor, hidden: Tensor) -> Tensor:
    """The token of the nearest visible cell in each hidden one: (h, w) int64 ──► (h, w).

    Args:
        ids: (h, w) int64; hidden ones are not used.
        hidden: (h, w) bool.
    """
    flat, width = ids.flatten(), hidden.shape[1]
    filled = ids.clone()
    for row, column in hidden.nonzero().tolist():
        filled[row, column] = flat[nearest_visible(~hidden, row * width + column, 1)[0]]
    return filled


def candidate_fill(ids: Tensor, candidates: CellCandidates, random: Random | None = None) -> Tensor:
    """One of the candidates in each cell that the LLM predicts: the same choice without an LLM.

    Args:
        ids: (h, w) int64.
        candidates: cell ──► its candidate tokens.
        random: draws the candidate; None takes the first.
    """
    filled = ids.flatten().clone()
    for cell, of_cell in candidates.items():
        filled[cell] = of_cell.ids[0] if random is None else random.choice(of_cell.ids)
    return filled.view(ids.shape)

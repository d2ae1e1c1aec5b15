"""photographs ──► how much of masked grid features the best linear map of all visible ones predicts.

    python benchmarks/choices/linear_restoration.py PLACE … [--held-out 200]

The features are those of the grid tokenizer that ships, before its lookup, in units of their variance. For each
mask a ridge regression from all visible cells to the masked ones is fitted; the last photographs by a seeded
order are held out, and the error is relative to predicting the mean: 1 means that nothing is predicted. Of
several strengths of the ridge the best is printed, so the figure is a lower bound of the error.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from v2l.progress import silent
from v2l.sources import find_images
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.training.recipes.latent_data import grid_features

SIDE, RIDGES = 128, (0.1, 0.3, 1.0, 3.0, 10.0)


def masks(cells: int) -> dict[str, Tensor]:
    """Name ──► (cells, cells) bool, True where a cell is masked."""
    empty = torch.zeros(cells, cells, dtype=torch.bool)
    centre, lower, quarter = empty.clone(), empty.clone(), cells // 4
    centre[quarter:-quarter, quarter:-quarter] = True
    lower[cells // 2 :] = True
    drawn = torch.rand(cells, cells, generator=torch.Generator().manual_seed(0)) < 0.3
    return {"the centre": centre, "the lower half": lower, "30 % of the cells": drawn}


def least_error(known: Tensor, unknown: Tensor, count: int) -> float:
    """The error of predicting features (n, U) from (n, K), on the last `count` rows."""
    known, unknown = known - known[:-count].mean(dim=0), unknown - unknown[:-count].mean(dim=0)
    square = known[:-count].T @ known[:-count]
    product = known[:-count].T @ unknown[:-count]
    scale = square.diagonal().mean() * torch.eye(len(square))
    errors = [
        (known[-count:] @ torch.linalg.solve(square + ridge * scale, product) - unknown[-count:])
        .square()
        .sum()
        for ridge in RIDGES
    ]
    return float(min(errors) / unknown[-count:].square().sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="+")
    parser.add_argument("--held-out", type=int, default=200)
    given = parser.parse_args()
    grid = V2LTokenizer.from_pretrained(device="cpu")
    rows = grid_features(grid, find_images(*given.places), SIDE, silent).rows[:].float()
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    rows = (rows - rows.mean(dim=(0, 2, 3), keepdim=True)) / rows.std(dim=(0, 2, 3), keepdim=True)
    print(f"{len(rows):,} photographs, of which {given.held_out} are held out")
    for name, mask in masks(rows.shape[-1]).items():
        hidden = rows[:, :, mask].flatten(1)
        print(f"{name:18s} error {least_error(rows[:, :, ~mask].flatten(1), hidden, given.held_out):.2f}")


if __name__ == "__main__":
    main()

"""rows and what a linear map should give for them ──► the map, by ridge regression.

Rows may come in parts, because only sums of them are kept: millions of rows fit into memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RidgeFit:
    """The sums of a regression from D to `width` numbers.

    Args:
        inputs: D.
        outputs: width.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.count = 0
        self.input_sum, self.output_sum = zeros(inputs), zeros(outputs)
        self.square, self.product = zeros(inputs, inputs), zeros(inputs, outputs)

    def add(self, rows: Tensor, targets: Tensor) -> None:
        """Rows (n, D) and their targets (n, width)."""
        x, y = rows.detach().cpu().double(), targets.detach().cpu().double()
        self.count += len(x)
        self.input_sum += x.sum(dim=0)
        self.output_sum += y.sum(dim=0)
        self.square += x.T @ x
        self.product += x.T @ y

    @torch.no_grad()
    def solve(self, layer: nn.Linear, ridge: float) -> None:
        """Set a linear layer D ──► width to the fitted map.

        Args:
            layer: its weights are replaced.
            ridge: weight of the squared norm of the map, in units of the mean variance of the inputs.
        """
        mean, goal = self.input_sum / self.count, self.output_sum / self.count
        square = self.square / self.count - mean.outer(mean)
        product = self.product / self.count - mean.outer(goal)
        square += ridge * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
        weight = torch.linalg.solve(square, product)  # (D, width)
        layer.weight.copy_(weight.T)
        layer.bias.copy_(goal - mean @ weight)


def zeros(*shape: int) -> Tensor:
    """Zeros in float64."""
    return torch.zeros(*shape, dtype=torch.float64)

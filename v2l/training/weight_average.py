"""weights of many steps ──► their moving average, which reconstructs images better than the last weights.

Source: Polyak averaging; its warm-up as in TensorFlow's ExponentialMovingAverage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The moving average of a network's trained weights.

    Args:
        network: the network to follow; the average starts with its weights as they are.
        decay: share of the old average that a step keeps; 0 follows the weights themselves.

    Attributes:
        tensors: the average, by the names of the weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self.tensors: dict[str, Tensor] = {}
        self.restart()

    @torch.no_grad()
    def restart(self) -> None:
        """Start again with the weights as they are."""
        self.tensors = {name: weight.detach().clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Add the weights as they are, `steps` steps after the average started.

        The decay is min(decay, (1 + steps) / (10 + steps)): early weights are forgotten sooner.
        """
        keep = min(self.decay, (1 + steps) / (10 + steps)) if self.decay else 0.0
        for name, weight in self.weights.items():
            self.tensors[name].lerp_(weight, 1 - keep)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on with an average that was saved."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @contextmanager
    @torch.no_grad()
    def in_network(self) -> Iterator[None]:
        """A block in which the network holds the averaged weights.

        Afterwards it has its own weights again, bit for bit.
        """
        own = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self._copy_in(self.tensors)
        try:
            yield
        finally:
            self._copy_in(own)

    @torch.no_grad()
    def _copy_in(self, tensors: Mapping[str, Tensor]) -> None:
        for name, weight in self.weights.items():
            weight.copy_(tensors[name])

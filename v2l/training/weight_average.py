"""weights of many steps ──► their moving average, which paints better than the last of them.

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
        network: whose weights are followed; the average begins with what they are.
        decay: how much of the old average a step keeps; 0 follows the weights themselves.

    Attributes:
        tensors: the average, by the names of the weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.tensors: dict[str, Tensor] = {}
        self.restart()

    @torch.no_grad()
    def restart(self) -> None:
        """Begin again with the weights as they are."""
        self.tensors = {
            name: parameter.detach().clone() for name, parameter in self.network.named_parameters()
        }

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take in the weights as they are, `steps` steps after the average began: early steps are forgotten sooner."""
        keep = min(self.decay, (1 + steps) / (10 + steps)) if self.decay else 0.0
        for name, parameter in self.network.named_parameters():
            self.tensors[name].lerp_(parameter, 1 - keep)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on with an average that was saved."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @contextmanager
    @torch.no_grad()
    def in_network(self) -> Iterator[None]:
        """A block in which the network holds the average; afterwards it has its own weights again, to the bit."""
        own = {name: parameter.detach().clone() for name, parameter in self.network.named_parameters()}
        self._put(self.tensors)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        for name, parameter in self.network.named_parameters():
            parameter.copy_(tensors[name])

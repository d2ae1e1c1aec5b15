"""a loss ──► one step of a network's optimizer, skipped if a gradient is not finite.

Source: Adam, arXiv 1412.6980.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim import Optimizer

from v2l.errors import V2LError
from v2l.processes import Accelerator

RATE_SHARE_KEY = "rate_share"  # of a group of parameters: its share of the learning rate
MAX_BAD_STEPS = 5  # in a row; one more stops the run
FUSED_DEVICES = ("cpu", "cuda")  # where Adam can be one pass over the weights


class OptimizerStep:
    """A network that is trained, with its optimizer.

    Args:
        network: on the device of the processes, in the mode (train or eval) in which it is trained.
        optimizer: over the weights that are trained; its learning rate is set anew in each step.
        processes: the processes that train together.
        clip_norm: largest norm of the gradients; 0 is off.
        trained_only: save the trained weights alone, because the others (those of an LLM) are on disk
            already.

    Attributes:
        network: the network as it is saved, and as other networks call it.
        prepared: the same network as its own training calls it: in mixed precision, with the gradients of all
            processes.
        optimizer: as given.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer,
        processes: Accelerator,
        clip_norm: float = 0.0,
        trained_only: bool = False,
    ) -> None:
        self.network, self.optimizer, self.processes = network, optimizer, processes
        self.clip_norm, self.trained_only = clip_norm or math.inf, trained_only
        self.prepared = processes.prepare_model(network)
        self._bad_steps = 0

    @property
    def parameters(self) -> list[Tensor]:
        """The weights that the optimizer changes."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def tensors(self) -> dict[str, Tensor]:
        """What a saved state holds of the network, by name."""
        if self.trained_only:
            return {name: weight for name, weight in self.network.named_parameters() if weight.requires_grad}
        return self.network.state_dict()

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave.

        Raises:
            RuntimeError: a tensor is missing or has another shape.
        """
        if not self.trained_only:
            self.network.load_state_dict(tensors)
            return
        with torch.no_grad():
            for name, weight in self.tensors().items():
                weight.copy_(tensors[name])

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """A block for the forward and backward pass of one part.

        Processes exchange gradients with the last part only.
        """
        return nullcontext() if last else self.processes.no_sync(self.prepared)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of one part's loss."""
        self.processes.backward(loss)

    def step(self, rate: float) -> bool:
        """Update the weights with the accumulated gradients at this learning rate, then clear the gradients.

        A group of parameters with the entry `RATE_SHARE_KEY` gets this share of the rate.

        Returns:
            Whether the update was made. It is skipped if a gradient is not finite; all processes then skip
            it, because they share their gradients.

        Raises:
            V2LError: several updates in a row were skipped.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(RATE_SHARE_KEY, 1.0)
        # Without clipping the largest norm is infinite: the gradients are then multiplied by exactly 1.
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        finite = bool(norm.isfinite())
        if finite:
            self.optimizer.step()
            # The quantizer's cache watches the weights' version, which a fused optimizer does not raise.
            increment_version(self.parameters)
        self.optimizer.zero_grad(set_to_none=True)
        self._bad_steps = 0 if finite else self._bad_steps + 1
        if self._bad_steps == MAX_BAD_STEPS:
            raise V2LError(
                f"the loss or its gradient was not finite for {MAX_BAD_STEPS} steps in a row",
                "a finite loss",
                "a lower learning rate (training.learning_rate or --rate), with -o ANOTHER_FOLDER",
            )
        return finite

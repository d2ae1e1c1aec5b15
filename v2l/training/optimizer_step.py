"""a loss ──► one step of a network's optimizer, unless a gradient is not finite.

Source: Adam, arXiv 1412.6980; its epsilon as in the official code.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from v2l.config import TrainingConfig
from v2l.errors import V2LError
from v2l.processes import Accelerator

MOST_BAD_STEPS = 5  # in a row
ADAM_EPSILON = 1e-7
FUSED = ("cpu", "cuda")  # devices on which Adam is one pass over the weights


class Learner:
    """A network that is trained, with its optimizer.

    Args:
        network: what is trained; it is moved to the processes' device.
        config: rates, clipping, compilation.
        processes: the world of processes.

    Attributes:
        network: as it is saved, and as others call it.
        prepared: the same network as its own training calls it: in mixed precision, with the gradients of all processes.
        optimizer: Adam.
    """

    def __init__(self, network: nn.Module, config: TrainingConfig, processes: Accelerator) -> None:
        self.config, self.processes, self.network = config, processes, network
        network.to(processes.device, memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.Adam(
            network.parameters(),
            lr=config.learning_rate,
            betas=config.betas,
            eps=ADAM_EPSILON,
            fused=processes.device.type in FUSED,
        )
        if config.compile:
            network.compile()
        self.prepared = processes.prepare_model(network)
        self._bad_steps = 0

    def part(self, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward pass of a part of a step: processes exchange gradients with the last part only."""
        return nullcontext() if last else self.processes.no_sync(self.prepared)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a part's loss."""
        self.processes.backward(loss)

    def step(self, rate: float) -> bool:
        """Make a step with the gradients since the last one, at this learning rate, and clear them.

        Returns:
            Whether the step was made: not when a gradient is not finite, which is so in every process or in none.

        Raises:
            V2LError: it was not, several steps in a row.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm or math.inf)
        finite = bool(norm.isfinite())
        if finite:
            self.optimizer.step()
            increment_version(
                self.network.parameters()
            )  # the fused optimizer does not, and the quantizer's cache asks for it
        self.optimizer.zero_grad(set_to_none=True)
        self._bad_steps = 0 if finite else self._bad_steps + 1
        if self._bad_steps == MOST_BAD_STEPS:
            raise V2LError(
                f"the loss or its gradient was not finite for {MOST_BAD_STEPS} steps in a row",
                "a finite loss",
                "a lower training.learning_rate, from the last checkpoint",
            )
        return finite

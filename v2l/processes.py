"""program ──► one or many processes, each on its own device.

Training, filtering and evaluation use this module. A program without a launcher is a group of one process.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import timedelta

from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, reduce
from torch import Tensor

from v2l.device import choose_device

__all__ = ["ALONE", "Accelerator", "World", "join_world", "start_processes"]

# How long a process waits for the others. It is long, because their parts of the work end at different times.
WAITING_TIME = timedelta(days=7)


@dataclass(frozen=True)
class World:
    """The group of processes that divide a long computation, as seen from one process.

    Attributes:
        index: rank of this process, from 0.
        count: number of processes.
        device: device of this process.
    """

    index: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints: the one with index 0."""
        return self.index == 0

    def wait(self) -> None:
        """Wait until all processes have reached this call (a barrier)."""
        if self.count > 1:
            PartialState().wait_for_everyone()

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes, equal in each of them."""
        if self.count == 1:
            return tensor
        total: Tensor = reduce(tensor.to(self.device), "sum")
        return total.to(tensor.device)


ALONE = World()


def join_world(device: str = "auto") -> World:
    """Join the processes that a launcher such as torchrun started.

    Without a launcher, the result is a group of one process.

    Args:
        device: as in `choose_device`; `cpu` puts every process on the CPU.
    """
    chosen = choose_device(device)
    state = PartialState(cpu=chosen.type == "cpu", timeout=WAITING_TIME)
    return World(
        state.process_index, state.num_processes, str(state.device if state.num_processes > 1 else chosen)
    )


def start_processes(device: str = "auto", precision: str = "no", fixed_buffers: bool = False) -> Accelerator:
    """Join the processes that a launcher started, for training with accelerate.

    Args:
        device: as in `choose_device`; `cpu` puts every process on the CPU.
        precision: mixed precision of the prepared models, `no` or `bf16`.
        fixed_buffers: the buffers of the models are equal in all processes and do not change in training, so
            that none is sent.
    """
    on_cpu = choose_device(device).type == "cpu"
    # Newer torch has another name for `broadcast_buffers`, which accelerate does not pass on yet.
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
    # Some weights get no gradient before the quantizer or the discriminator is switched on.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=not fixed_buffers)
    return Accelerator(mixed_precision=precision, cpu=on_cpu, kwargs_handlers=[parallel])

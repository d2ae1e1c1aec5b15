"""one program ──► one or many processes, each on its device.

Training, filtering and evaluation all start here; a program that was launched alone is a world of one
process.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, reduce
from torch import Tensor

from v2l.device import choose_device

__all__ = ["ALONE", "Accelerator", "World", "join_world", "start_processes"]

# How long a process waits for the others, because their shares of long work end at different times.
WAITING_TIME = timedelta(days=7)


@dataclass(frozen=True)
class World:
    """The processes that share long work out among themselves, as one of them sees it.

    Attributes:
        index: which one this is, from 0.
        count: how many there are.
        device: where this one computes.
    """

    index: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.index == 0

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.count > 1:
            PartialState().wait_for_everyone()

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of every process's tensor, the same in all of them."""
        if self.count == 1:
            return tensor
        total: Tensor = reduce(tensor.to(self.device), "sum")
        return total.to(tensor.device)


ALONE = World()


def join_world(device: str = "auto") -> World:
    """Join the processes that were launched together (by torchrun, say); a program that was launched alone is
    all of its world.

    Args:
        device: as in `choose_device`; `cpu` keeps every process on the CPU.
    """
    chosen = choose_device(device)
    state = PartialState(cpu=chosen.type == "cpu", timeout=WAITING_TIME)
    return World(
        state.process_index, state.num_processes, str(state.device if state.num_processes > 1 else chosen)
    )


def start_processes(device: str = "auto", precision: str = "no") -> Accelerator:
    """Join the processes that were launched together.

    Args:
        device: as in `choose_device`; `cpu` keeps every process on the CPU.
        precision: `no` or `bf16`: mixed precision of what is prepared.
    """
    on_cpu = choose_device(device).type == "cpu"
    # While the quantizer or the discriminator is off, some weights get no gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision=precision, cpu=on_cpu, kwargs_handlers=[unused])

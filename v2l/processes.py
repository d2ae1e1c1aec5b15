"""one program ──► one or many processes, on whatever devices they have (accelerate's door).

Training, filtering and evaluation all start here; a program that was launched alone is a world of one process.
"""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from v2l.device import choose_device

__all__ = ["Accelerator", "start_processes"]


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

"""machine ──► device and dtype, chosen at run time.

`choose_dtype` applies to the frozen LLM only. Training, the quantizer and the joint encoder use float32.
"""

from __future__ import annotations

import torch

from v2l.errors import V2LError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """Choose the device: `auto` takes CUDA if there is one, then Apple's GPU, then the CPU.

    Raises:
        V2LError: this machine has no such device.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise V2LError(
            f"got device {name!r}, which this machine does not offer",
            "auto, cpu, cuda, cuda:0, mps",
            "--device auto",
        ) from error
    return device


def choose_dtype(name: str = "auto", device: torch.device | None = None) -> torch.dtype:
    """Choose the dtype of the frozen LLM.

    On CUDA, `auto` is bfloat16 if the GPU itself computes it, otherwise float16. Elsewhere `auto` is float32,
    because a CPU without bfloat16 units runs bfloat16 several times slower than float32.

    Args:
        name: `auto`, `float32`, `bfloat16` or `float16`.
        device: the device of the LLM; None is the CPU.

    Raises:
        V2LError: the name is not one of these.
    """
    device = device or torch.device("cpu")
    if name == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if native else torch.float16
        return torch.float32
    if name not in DTYPES:
        raise V2LError(f"got dtype {name!r}", ", ".join(["auto", *DTYPES]), "--dtype auto")
    return DTYPES[name]

"""weights as a checkpoint holds them ──► a module that they fit exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from v2l.errors import V2LError


def load_strictly(module: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Load weights that fit exactly.

    Raises:
        V2LError: naming the missing, unexpected and misshapen keys, or keys that hold NaN.
    """
    wanted = module.state_dict()
    common = wanted.keys() & weights.keys()
    problems = {
        "missing": wanted.keys() - weights.keys(),
        "unexpected": weights.keys() - wanted.keys(),
        "misshapen": {key for key in common if wanted[key].shape != weights[key].shape},
        "not finite": {key for key, tensor in weights.items() if not _is_finite(tensor)},
    }
    listed = "; ".join(
        f"{len(keys)} {problem} ({_first_of(keys)})" for problem, keys in problems.items() if keys
    )
    if listed:
        raise V2LError(
            f"the weights in {where} do not fit: {listed}", "weights of the same config", "v2l train"
        )
    module.load_state_dict({key: tensor.to(wanted[key].dtype) for key, tensor in weights.items()})


def stored(tensor: Tensor, half: bool) -> Tensor:
    """A weight as a checkpoint holds it; whole numbers stay as they are."""
    return tensor.half() if half and tensor.is_floating_point() else tensor


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _first_of(keys: Iterable[str], count: int = 3) -> str:
    """The first keys in alphabetical order, for an error line."""
    names = sorted(keys)
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")

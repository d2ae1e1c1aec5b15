"""what the browser sends ──► images (3, H, W) and masks (H, W)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from v2l.errors import V2LError
from v2l.images import load_image


def read_photograph(file: str | None) -> Tensor:
    """The uploaded photograph (3, H, W) float32 in [0, 1].

    Raises:
        V2LError: there is none, or it is no readable image. The line names the file without its folder,
            because the folder is the server's.
    """
    if not file:
        raise V2LError("there is no photograph yet: choose one first")
    try:
        return load_image(file)
    except V2LError as error:
        name = Path(file).name
        raise V2LError(
            *(part.replace(file, name) for part in (error.got, error.allowed, error.run))
        ) from error


def brushed_mask(drawing: dict[str, Any] | None, size: tuple[int, int]) -> Tensor:
    """What was brushed over a photograph: (H, W) bool, True where there is colour.

    Args:
        drawing: an editor's value; each of its "layers" is (h, w, 4) uint8, RGBA.
        size: (H, W) of the photograph.

    Raises:
        V2LError: nothing was brushed.
    """
    layers = [torch.from_numpy(np.asarray(layer)) for layer in (drawing or {}).get("layers", [])]
    masks = [at_size(layer[..., 3] > 0, size) for layer in layers if layer.shape[-1] == 4]
    mask = torch.stack(masks).any(dim=0) if masks else torch.zeros(size, dtype=torch.bool)
    if not mask.any():
        raise V2LError("nothing is brushed yet: brush over what shall be painted anew, or choose the centre")
    return mask


def at_size(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask (h, w) bool at another size: (H, W) bool; the editor may show a photograph smaller."""
    if tuple(mask.shape) == size:
        return mask
    return interpolate(mask[None, None].float(), size=size, mode="nearest")[0, 0] > 0.5

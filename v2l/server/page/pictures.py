"""what the browser sends ──► images (3, H, W) and masks (H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from v2l.errors import V2LError
from v2l.images import EncodedImage, load_image, opacity

MOST_PIXELS = 25_000_000  # of a picture
Drawing = Sequence[bytes]
"""Image files, one for each layer of what was brushed."""


def read_photograph(file: str | None) -> Tensor:
    """The uploaded photograph (3, H, W) float32 in [0, 1].

    Raises:
        V2LError: there is none, or it is no readable image. The line names the file without its folder,
            because the folder is the server's.
    """
    if not file:
        raise V2LError("there is no photograph yet: choose one first")
    name = Path(file).name
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise V2LError(f"{name} is not there any more: choose it again") from error
    return load_image(EncodedImage(name, content, MOST_PIXELS))


def brushed_mask(drawing: Drawing, size: tuple[int, int]) -> Tensor:
    """What was brushed over a photograph: (H, W) bool, True where there is colour.

    Args:
        drawing: its layers, transparent where nothing was brushed.
        size: (H, W) of the photograph.

    Raises:
        V2LError: nothing was brushed, or a layer is no readable image.
    """
    layers = [opacity(EncodedImage("the drawing", layer, MOST_PIXELS)) for layer in drawing]
    masks = [at_size(layer > 0, size) for layer in layers]
    mask = torch.stack(masks).any(dim=0) if masks else torch.zeros(size, dtype=torch.bool)
    if not mask.any():
        raise V2LError("nothing is brushed yet: brush over what shall be painted anew, or choose the centre")
    return mask


def at_size(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask (h, w) bool at another size: (H, W) bool; the editor may show a photograph smaller."""
    if tuple(mask.shape) == size:
        return mask
    return interpolate(mask[None, None].float(), size=size, mode="nearest")[0, 0] > 0.5

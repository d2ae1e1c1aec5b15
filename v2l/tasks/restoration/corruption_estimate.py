"""corrupted image ──► its corruption: the size of a blur or the length of a shift, from its pixels alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from v2l.corruptions import KERNELS, Blur, Shift
from v2l.errors import V2LError
from v2l.images import resize_and_crop

LEAST_SIDE = max(KERNELS)


def estimate_blur(image: Tensor, samples: Sequence[Tensor], size: int) -> Blur:
    """The blur that leaves sample photographs as sharp as the image is.

    Args:
        image: (3, H, W) in [0, 1].
        samples: sharp photographs (3, H, W).
        size: side in pixels at which all are compared, where the tokenizer sees them.

    Raises:
        V2LError: the image is smaller than the widest blur.
    """
    if min(image.shape[-2:]) < LEAST_SIDE:
        got = f"got an image of {image.shape[-1]} × {image.shape[-2]} pixels"
        raise V2LError(got, f"{LEAST_SIDE} and more a side", "a larger image")
    squares = torch.stack([resize_and_crop(sample, size) for sample in samples])
    own = sharpness(resize_and_crop(image, size)[None]).log()
    distances = {
        kernel: (sharpness(Blur(kernel).apply(squares)).log().mean() - own).abs().item() for kernel in KERNELS
    }
    return Blur(min(distances, key=distances.__getitem__))


def sharpness(images: Tensor) -> Tensor:
    """Mean square of the Laplacian over the variance: (B, 3, H, W) ──► (B,) above 0.

    The variance makes it independent of the contrast of an image.
    """
    grey = images.mean(dim=1)  # (B, H, W)
    laplacian = (
        4 * grey[:, 1:-1, 1:-1]
        - grey[:, :-2, 1:-1]
        - grey[:, 2:, 1:-1]
        - grey[:, 1:-1, :-2]
        - grey[:, 1:-1, 2:]
    )
    tiny = torch.finfo(torch.float32).tiny  # an image of one colour has a sharpness, too
    return (laplacian.square().mean(dim=(1, 2)) + tiny) / (grey.var(dim=(1, 2)) + tiny)


def estimate_shift(image: Tensor) -> Shift:
    """Estimate a cyclic shift from the seam in the image.

    The seam is at the row and the column that differ most from the ones before them.

    An image that was not shifted has its seams at its own edges, and gives a shift of 0.

    Args:
        image: (3, H, W) in [0, 1].
    """
    return Shift(seam(image, -2) / image.shape[-2], seam(image, -1) / image.shape[-1])


def seam(image: Tensor, dim: int) -> int:
    """Where neighbours along an axis differ most: pixels from the nearer edge, negative before the end."""
    others = tuple(axis for axis in (-3, -2, -1) if axis != dim)
    steps = (image - torch.roll(image, 1, dims=dim)).abs().mean(dim=others)
    place, length = int(steps.argmax()), image.shape[dim]
    return place if place <= length // 2 else place - length

"""a map of features ⇄ coefficients of a few latents: the linear part of the code, by cosine transform.

Fitted once, then frozen. A latent holds coefficients of falling variance; each length codes what the lengths
before it left over, so that all share their first latents. The networks run beside it and learn the rest.
Sources: Ahmed, Natarajan and Rao, IEEE Transactions on Computers C-23 (1), 1974, for the transform; Equitz
and Cover, IEEE Transactions on Information Theory 37 (2), 1991, for coding in refinements.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from v2l.tokenizers.quantizers.base import Quantizer, nearest


class LinearCode(nn.Module):
    """Features ⇄ coefficients.

    Args:
        shape: (d, h, w) of a map of features.
        blocks: (first, end) of the latents of each length.
        code_width: coefficients of a latent.
    """

    mean: Tensor
    axes: Tensor
    places: Tensor
    scales: Tensor

    def __init__(
        self, shape: tuple[int, int, int], blocks: tuple[tuple[int, int], ...], code_width: int
    ) -> None:
        super().__init__()
        channels, rows, columns = shape
        self.shape, self.blocks, latents = shape, blocks, blocks[-1][1]
        self.register_buffer("down", cosines(rows), persistent=False)
        self.register_buffer("across", cosines(columns), persistent=False)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("axes", torch.eye(channels))  # of the channels: their principal components
        places = torch.arange(latents * code_width) % (channels * rows * columns)
        self.register_buffer("places", places.view(latents, code_width))  # of each coefficient of a latent
        self.register_buffer("scales", torch.ones(latents))

    def transform(self, features: Tensor) -> Tensor:
        """Features (B, d, h, w) ──► all coefficients (B, d · h · w)."""
        centred = torch.einsum("cd,bcxy->bdxy", self.axes, features - self.mean)
        return torch.einsum("ux,vy,bdxy->bduv", self.down, self.across, centred).flatten(1)

    def inverse(self, coefficients: Tensor) -> Tensor:
        """All coefficients (B, d · h · w) ──► features (B, d, h, w)."""
        maps = coefficients.view(-1, *self.shape)
        centred = torch.einsum("ux,vy,bduv->bdxy", self.down, self.across, maps)
        return torch.einsum("cd,bdxy->bcxy", self.axes, centred) + self.mean

    def analyse(self, left: Tensor, first: int, end: int) -> Tensor:
        """Coefficients (B, d · h · w) that are left to code ──► codes (B, end - first, code_width)."""
        return left[:, self.places[first:end]] / self.scales[first:end, None]

    def spread(self, codes: Tensor, first: int) -> Tensor:
        """Codes (B, n, code_width) of latents from `first` on ──► all coefficients (B, d · h · w)."""
        end = first + codes.shape[1]
        values = (codes * self.scales[first:end, None]).flatten(1)
        empty = values.new_zeros(len(values), self.mean.numel())
        return empty.index_add(1, self.places[first:end].flatten(), values)

    @torch.no_grad()
    def fit_transform(self, features: Tensor) -> None:
        """Set mean and axes to those of features (n, d, h, w)."""
        self.mean.copy_(features.mean(dim=0))
        vectors = (features - self.mean).movedim(1, -1).reshape(-1, features.shape[1])
        self.axes.copy_(torch.linalg.eigh(vectors.T @ vectors / len(vectors)).eigenvectors.flip(1))

    @torch.no_grad()
    def fit_block(self, left: Tensor, first: int, end: int) -> None:
        """Choose the coefficients of some latents: those with the most variance left, dealt out in turn.

        Args:
            left: (n, d · h · w) what the latents before `first` left over of n maps.
            first: the first latent.
            end: the latent behind the last one.
        """
        count, width = end - first, self.places.shape[1]
        chosen = left.square().mean(dim=0).argsort(descending=True)[: count * width]
        self.places[first:end] = chosen.view(width, count).T
        self.scales[first:end] = (
            left[:, self.places[first:end]].square().mean(dim=(0, 2)).sqrt().clamp(min=1e-6)
        )


def cosines(count: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II) of `count` values: (count, count), a frequency a row."""
    frequencies, places = torch.arange(count)[:, None], torch.arange(count)[None]
    rows: Tensor = torch.cos(torch.pi * (places + 0.5) * frequencies / count) * (2 / count) ** 0.5
    rows[0] /= 2**0.5
    return rows


@torch.no_grad()
def fit_linear(linear: LinearCode, quantizers: Sequence[Quantizer], features: Tensor) -> None:
    """Fit a linear code, and the map of the codebook for each of its blocks, to features (n, d, h, w).

    A block codes what the lookup of the blocks before it left over.
    """
    linear.fit_transform(features)
    left = linear.transform(features)
    for (first, end), quantizer in zip(linear.blocks, quantizers, strict=True):
        linear.fit_block(left, first, end)
        own = linear.analyse(left, first, end)
        vectors = own.flatten(0, 1)
        quantizer.fit(vectors)
        entries = quantizer.entries()
        left = left - linear.spread(entries[nearest(vectors, entries)].view(own.shape), first)

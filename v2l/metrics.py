"""counts, images ──► figures with their intervals.

torchmetrics, which computes those of images, takes a second to import: it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import atanh, inf, sqrt, tanh
from statistics import fmean, stdev
from typing import Any, Self

import torch
from torch import Tensor, nn

Z_95 = 1.959964  # quantile of the standard normal distribution: 95 % lie within
LUMA = (0.299, 0.587, 0.114)  # of RGB in Y, as JPEG has it (ITU-R BT.601, full range)


@dataclass(frozen=True)
class Proportion:
    """A share with its 95 % interval.

    Attributes:
        successes: how many of them.
        n: out of how many.
    """

    successes: int
    n: int

    @property
    def value(self) -> float:
        """The share, in [0, 1]."""
        return self.successes / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval (Wilson 1927): right for few trials and for shares near 0 and 1."""
        centre = self.value + Z_95**2 / (2 * self.n)
        half = Z_95 * sqrt(self.value * (1 - self.value) / self.n + Z_95**2 / (4 * self.n**2))
        scale = 1 + Z_95**2 / self.n
        low, high = (centre - half) / scale, (centre + half) / scale
        # rounding may leave a share of 0 or 1 outside of its own interval
        return max(0.0, min(low, self.value)), min(1.0, max(high, self.value))

    def to_dict(self) -> dict[str, Any]:
        """For reports: value and interval."""
        return {"value": self.value, "interval": list(self.interval)}

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.1%} ({low:.1%} to {high:.1%})"


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % interval.

    Attributes:
        value: the mean.
        half_width: of the interval.
        n: samples.
    """

    value: float
    half_width: float
    n: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """The mean of independent samples, with an interval by the normal approximation.

        The standard deviation is that of the samples. The interval of a single sample is unbounded.
        """
        spread = stdev(samples) if len(samples) > 1 else inf
        return cls(fmean(samples), Z_95 * spread / sqrt(len(samples)), len(samples))

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high end."""
        return self.value - self.half_width, self.value + self.half_width

    def to_dict(self) -> dict[str, Any]:
        """For reports: value and interval; of a single sample no interval is known."""
        return {"value": self.value, "interval": list(self.interval) if self.n > 1 else None}

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.4g} ({low:.4g} to {high:.4g})"


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of two figures over n samples, with its 95 % interval.

    Attributes:
        value: in [-1, 1]; nan if one of the figures is the same for all samples.
        n: samples.
    """

    value: float
    n: int

    @classmethod
    def of(cls, first: Sequence[float], second: Sequence[float]) -> Self:
        """Of n pairs; equal values share the mean of their ranks."""
        ranks = torch.stack([_ranks(first), _ranks(second)])
        return cls(torch.corrcoef(ranks)[0, 1].item(), len(first))

    @property
    def interval(self) -> tuple[float, float]:
        """By Fisher's z with the variance of Bonett & Wright 2000, (1 + ρ² / 2) / (n - 3)."""
        if self.n < 4 or not abs(self.value) < 1:
            return -1.0, 1.0
        centre, half = atanh(self.value), Z_95 * sqrt((1 + self.value**2 / 2) / (self.n - 3))
        return tanh(centre - half), tanh(centre + half)

    def to_dict(self) -> dict[str, Any]:
        """For reports: value and interval."""
        return {"value": self.value, "interval": list(self.interval)}

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.2f} ({low:.2f} to {high:.2f})"


def _ranks(values: Sequence[float]) -> Tensor:
    """(n,) float64: the rank of each value; equal values share the mean of their ranks."""
    _, places, counts = torch.tensor(values, dtype=torch.float64).unique(
        return_inverse=True, return_counts=True
    )
    last = counts.cumsum(dim=0)  # of each distinct value, the rank of its last copy
    ranks: Tensor = (last - (counts - 1) / 2).double()[places]
    return ranks


def psnr(images: Tensor, others: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB: (B, C, H, W) twice in [0, 1] ──► (B,).

    The mean squared error runs over all pixels and channels of an image.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    return peak_signal_noise_ratio(others, images, data_range=1.0, dim=(1, 2, 3), reduction="none")


def luma_psnr(images: Tensor, others: Tensor) -> Tensor:
    """The same for brightness alone, the Y of YCbCr: (B, 3, H, W) twice in [0, 1] ──► (B,)."""
    return psnr(luma(images), luma(others))


def luma(images: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in [0, 1] ──► (B, 1, H, W), Y in [0, 1]."""
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA))[:, None]


def ssim(images: Tensor, others: Tensor) -> Tensor:
    """Structural similarity of each image over RGB, at most 1: (B, 3, H, W) twice in [0, 1] ──► (B,).

    Source: Wang et al., IEEE TIP 13 (4), 2004: Gaussian window of 11 pixels, standard deviation 1.5.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    values = structural_similarity_index_measure(others, images, data_range=1.0, reduction="none")
    if isinstance(values, tuple):  # only with `return_full_image` or `return_contrast_sensitivity`
        raise TypeError("torchmetrics returned more than the similarity of each image")
    return values


class _Features(nn.Identity):
    """Passes features (B, D) on; torchmetrics reads their number D."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width


class FrechetDistance:
    """Fréchet distance of two sets by their features; of the sets only sums are kept, in float64.

    With fewer samples than features the covariances have no full rank: the distance is still exact for these
    samples, and larger than that of the distributions behind them. Source: Heusel et al., arXiv 1706.08500,
    equation 6.

    Args:
        width: D, features of a sample.
    """

    def __init__(self, width: int) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance

        self.metric = FrechetInceptionDistance(feature=_Features(width))

    def add(self, features: Tensor, others: Tensor) -> None:
        """Some samples of each set, (B, D) float32."""
        self.metric.update(others.cpu(), real=True)
        self.metric.update(features.cpu(), real=False)

    @property
    def value(self) -> float:
        """The distance between the two sets, after at least two samples of each.

        Rounding can make it a little negative; it is 0 then.
        """
        return max(0.0, self.metric.compute().item())

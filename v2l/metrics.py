"""counts, images ──► figures with their intervals.

torchmetrics, which computes those of images, takes a second to import: it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import atanh, fsum, inf, isfinite, sqrt, tanh
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
        """Wilson's interval for independent trials."""
        return wilson_interval(self.value, self.n)

    def to_dict(self) -> dict[str, Any]:
        """For reports: value and interval."""
        return {"value": self.value, "interval": list(self.interval)}

    def __str__(self) -> str:
        return _share_text(self.value, self.interval)


@dataclass(frozen=True)
class GroupedShare:
    """A share of things that come in groups, as words come in images, with its 95 % interval.

    Things of one group are not independent, so `Proportion` would give too narrow an interval. The groups are
    the independent samples.

    Attributes:
        value: the share of all things, in [0, 1].
        error: its standard error, from how the groups differ.
        n: things.
        groups: groups.
    """

    value: float
    error: float
    n: int
    groups: int

    @classmethod
    def of(cls, groups: Iterable[Sequence[float]]) -> Self:
        """Of the things of each group, 1 for yes, 0 for no, or a chance between; empty groups do not count.

        Source: Cochran, Sampling Techniques, 1977, chapter 3, proportions in cluster sampling.
        """
        sizes, sums = zip(*((len(group), fsum(group)) for group in groups if group), strict=True)
        n, count = sum(sizes), len(sizes)
        value = fsum(sums) / n
        spread = fsum((total - value * size) ** 2 for total, size in zip(sums, sizes, strict=True))
        return cls(value, sqrt(spread * count / max(1, count - 1)) / n, n, count)

    @classmethod
    def of_labelled(cls, things: Sequence[float], labels: Sequence[Hashable]) -> Self:
        """Of things as above; those with the same label are one group."""
        groups: dict[Hashable, list[float]] = {}
        for thing, label in zip(things, labels, strict=True):
            groups.setdefault(label, []).append(thing)
        return cls.of(groups.values())

    @property
    def trials(self) -> float:
        """Independent trials that would have the same error: `n` divided by the design effect (Kish 1965).

        At most `n`. Groups that do not differ at all count as one trial each.
        """
        if not self.error:
            return self.groups
        effect = self.error**2 * (self.n - 1) / (self.value * (1 - self.value))
        return self.n / max(1.0, effect)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval for so many trials; of a single group nothing is known."""
        return wilson_interval(self.value, self.trials) if self.groups > 1 else (0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """For reports: value and interval, which is None for a single group."""
        return {"value": self.value, "interval": list(self.interval) if self.groups > 1 else None}

    def __str__(self) -> str:
        return _share_text(self.value, self.interval)


def wilson_interval(value: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share of n independent trials.

    Right for few trials and for shares near 0 and 1. Source: Wilson 1927.
    """
    centre = value + Z_95**2 / (2 * n)
    half = Z_95 * sqrt(value * (1 - value) / n + Z_95**2 / (4 * n**2))
    scale = 1 + Z_95**2 / n
    low, high = (centre - half) / scale, (centre + half) / scale
    # rounding may leave a share of 0 or 1 outside of its own interval
    return max(0.0, min(low, value)), min(1.0, max(high, value))


def _share_text(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{value:.1%} ({low:.1%} to {high:.1%})"


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

        The standard deviation is that of the samples. The interval of a single sample, and of samples that
        are not all finite, is unbounded.
        """
        n = len(samples)
        if not all(map(isfinite, samples)):
            return cls(sum(samples) / n, inf, n)
        spread = stdev(samples) if n > 1 else inf
        return cls(fmean(samples), Z_95 * spread / sqrt(n), n)

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high end."""
        return self.value - self.half_width, self.value + self.half_width

    def to_dict(self) -> dict[str, Any]:
        """For reports: value and interval, which is None where it is unbounded."""
        return {"value": self.value, "interval": list(self.interval) if isfinite(self.half_width) else None}

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

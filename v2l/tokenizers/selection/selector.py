"""patch features ──► which patches are kept.

A linear layer's channels are split: half of them stay those of the patch, the other half become their mean
over all patches, so that each decision knows the image. An MLP gives the log-probabilities of "keep" and
"drop". Training draws by the Gumbel-softmax with a straight-through gradient. Evaluation keeps what is above
a cut, so an image always has the same tokens; the released code draws then, too. The cut is ours: after a
short training nearly all patches are likelier dropped, although draws keep a third. Sources: LaVIT, arXiv
2309.04669, section 3.1; DynamicViT, arXiv 2106.02034, section 3.2; Gumbel-softmax, arXiv 1611.01144.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gumbel_softmax

KEEP, DROP = 0, 1
RANDOM_RATIOS = (1 / 8, 1 / 2)  # of the images that keep random patches


class Selector(nn.Module):
    """Features (B, n, C) ──► log-probabilities (B, n, 2) of keeping and dropping.

    Args:
        channels: C, a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU())
        half, quarter = channels // 2, channels // 4
        self.decide = nn.Sequential(
            nn.Linear(channels, half), nn.GELU(), nn.Linear(half, quarter), nn.GELU(), nn.Linear(quarter, 2)
        )

    def forward(self, features: Tensor) -> Tensor:
        own, shared = self.enter(features).chunk(2, dim=-1)  # (B, n, C / 2) twice
        seen = torch.cat([own, shared.mean(dim=1, keepdim=True).expand_as(shared)], dim=-1)
        chances: Tensor = self.decide(seen).log_softmax(dim=-1)
        return chances


def draw(chances: Tensor, temperature: float) -> Tensor:
    """Log-probabilities (B, n, 2) ──► kept (B, n) float32, 0 or 1, with the gradient of a soft choice."""
    return gumbel_softmax(chances, tau=temperature, hard=True)[..., KEEP]


def with_random(chosen: Tensor, share: float) -> Tensor:
    """Kept (B, n) of `draw` ──► the same, where about this share of the images keeps random patches."""
    batch = len(chosen)
    by_chance = torch.rand(batch, device=chosen.device) < share
    low, high = RANDOM_RATIOS
    ratios = low + (high - low) * torch.rand(batch, 1, device=chosen.device)
    drawn = (torch.rand_like(chosen) < ratios).float()
    return torch.where(by_chance[:, None], drawn, chosen)


def decide(chances: Tensor, cut: Tensor | float = 0.0) -> Tensor:
    """Log-probabilities (B, n, 2) ──► kept (B, n) float32, 0 or 1: all above the cut, at least one patch.

    Args:
        chances: of the selector.
        cut: of the log-odds of keeping a patch; 0 keeps what is likelier kept than dropped.
    """
    odds = log_odds(chances)
    kept = (odds > cut).float()
    return kept.scatter(1, odds.argmax(dim=1, keepdim=True), 1.0)


def keep_best(chances: Tensor, ratio: float) -> Tensor:
    """Log-probabilities (B, n, 2) ──► kept (B, n): the likeliest patches, a share `ratio` of them."""
    count = max(1, round(ratio * chances.shape[1]))
    best = log_odds(chances).topk(count, dim=1).indices
    return torch.zeros_like(chances[..., KEEP]).scatter(1, best, 1.0)


def cut_for(chances: Tensor, ratio: float) -> Tensor:
    """Log-probabilities (B, n, 2) of many images ──► the cut (): a share `ratio` of the patches is above it.

    How many patches of one image are above it depends on the image.
    """
    odds = log_odds(chances).flatten().sort().values  # quantile() takes 16 million numbers at most
    return odds[round((1 - ratio) * (len(odds) - 1))]


def log_odds(chances: Tensor) -> Tensor:
    """Log-probabilities (B, n, 2) ──► log(p / (1 - p)) of keeping each patch, (B, n)."""
    return chances[..., KEEP] - chances[..., DROP]


def ratio_loss(kept: Tensor, ratio: float) -> Tensor:
    """Kept (B, n) ──► the squared error of the share that an image keeps, (): equation 4 of DynamicViT."""
    return (kept.mean(dim=1) - ratio).square().mean()

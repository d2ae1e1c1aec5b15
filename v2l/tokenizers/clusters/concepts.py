"""tokens + the concepts of their images ──► the multi-label contrastive loss.

Source: SeTok, arXiv 2406.05127, section 3.3, asks for a contrastive loss of images and concepts with several
concepts an image. Its exact form is not stated there; this one is ours:

    s_bc = max over the tokens i of image b of cos(v_bi, t_c) / τ
    L    = mean over b and over its concepts p of -log( e^s_bp / (e^s_bp + Σ_c e^s_bc) ),
           c over the concepts of other images that b does not have
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

TEMPERATURE = 0.07
NEVER = -1e4  # a score that no exponential sees


def concept_loss(
    tokens: Tensor, present: Tensor, has: Tensor, vectors: Tensor, temperature: float = TEMPERATURE
) -> Tensor:
    """The loss of B images, ().

    Args:
        tokens: (B, N, D) of unit length, in the joint space.
        present: (B, N), 0 at padding.
        has: (B, M) bool, which of the M concepts of the batch an image has, at least one.
        vectors: (M, D) of unit length, the concepts.
        temperature: τ.
    """
    scores = tokens @ vectors.T / temperature  # (B, N, M)
    best = scores.masked_fill(present[..., None] == 0, NEVER).amax(dim=1)  # (B, M)
    others = torch.logsumexp(best.masked_fill(has, NEVER), dim=1, keepdim=True)  # (B, 1)
    losses = softplus(others - best) * has  # -log(e^s / (e^s + e^o)) = softplus(o - s)
    return (losses.sum(dim=1) / has.sum(dim=1)).mean()


def concepts_of_batch(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The concept of each patch ──► the concepts of the batch, and which image has which.

    Args:
        rows: (B, n) int64, rows of a codebook.

    Returns:
        (M,) int64, each concept once, and (B, M) bool.
    """
    concepts, places = rows.unique(return_inverse=True)
    has = torch.zeros(len(rows), len(concepts), dtype=torch.bool, device=rows.device)
    return concepts, has.scatter(1, places, True)

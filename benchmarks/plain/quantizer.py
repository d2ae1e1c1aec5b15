"""features + words ──► tokens by VQGAN's formula: all distances at once, inside the autograd graph."""

from __future__ import annotations

from torch import Tensor, nn

from v2l.tokenizers.quantizers.base import Quantized


def quantize_plainly(
    features: Tensor, embeddings: Tensor, projection: nn.Module, commitment: float, codebook: float
) -> Quantized:
    """(B, d, h, w) ──► the result of v2l's quantizer, by ‖z‖² + ‖e‖² - 2 z·e for all z and e.

    The codebook is projected in every call.
    """
    rows = features.movedim(1, -1)
    flat, entries = rows.reshape(-1, rows.shape[-1]), projection(embeddings)
    distances = (
        flat.square().sum(dim=1, keepdim=True) + entries.square().sum(dim=1) - 2 * flat @ entries.T
    )  # (N, V)
    indices = distances.argmin(dim=1)
    chosen = entries[indices].view(rows.shape)
    pull = (chosen.detach() - rows).square().mean()
    push = (chosen - rows.detach()).square().mean()
    straight_through = rows + (chosen - rows).detach()
    terms = {"commitment": pull.detach(), "codebook": push.detach()}
    return Quantized(
        straight_through.movedim(-1, 1),
        indices.view(rows.shape[:-1]),
        commitment * pull + codebook * push,
        terms,
    )

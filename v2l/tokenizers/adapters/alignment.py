"""soft tokens + words of their patches ──► SEA's loss: each soft token near its word's input embedding.

Source: SEA, arXiv 2408.11813, section 3: the nearest words of each patch, one drawn per patch and step with
probability proportional to its similarity, a contrastive loss against the other words of the batch. The mean
over sub-tokens and the masking of equal words are ours, because the paper leaves both open.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

TEMPERATURE = 0.07


def draw_words(words: Tensor, similarities: Tensor) -> Tensor:
    """Draw one word for each patch, with probability proportional to its similarity.

    Args:
        words: (P, k) int64 rows of a word table, the k nearest words of each patch.
        similarities: (P, k); what is below 0 counts as 0.

    Returns:
        (P,) int64 rows, drawn from torch's global generator.
    """
    weights = similarities.clamp(min=1e-6)
    return words.gather(1, torch.multinomial(weights, 1))[:, 0]


def alignment_loss(soft: Tensor, drawn: Tensor, vectors: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """The contrastive loss L_a of soft tokens and their words, a scalar.

    Args:
        soft: (P, width) outputs of the adapter, one for each patch of a batch.
        drawn: (P,) int64, the word of each: a row of `vectors`.
        vectors: (W, width), the LLM's input embeddings of all words.
        temperature: of the cosines.

    Equal words of a batch are one candidate, so a patch is never pushed away from its own word.
    """
    candidates, target = drawn.unique(return_inverse=True)  # (C,), (P,)
    words = normalize(vectors[candidates].to(soft), dim=-1)
    scores = normalize(soft, dim=-1) @ words.T / temperature  # (P, C)
    return cross_entropy(scores.float(), target)

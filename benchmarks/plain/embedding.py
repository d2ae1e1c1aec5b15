"""words ──► text vectors, one word at a time: the mean of the unit vectors of its padded sentences."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.encoders.openclip import OpenCLIP


@torch.inference_mode()
def embed_plainly(encoder: OpenCLIP, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """(V, D) float32: means of unit vectors, not normalized again."""
    means = []
    for word in words:
        sentences = encoder.tokenizer([template.format(word) for template in templates])  # (T, context)
        vectors = normalize(encoder.model.encode_text(sentences), dim=-1)
        means.append(vectors.mean(dim=0))
    return torch.stack(means)

"""words ──► their text vectors, one word at a time: all its sentences padded to the context, the mean of their unit vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.encoders.openclip import OpenCLIP


@torch.inference_mode()
def embed_plainly(encoder: OpenCLIP, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """(V, D) float32: the plain means, shorter than one."""
    means = []
    for word in words:
        sentences = encoder.tokenizer([template.format(word) for template in templates])  # (T, context)
        vectors = normalize(encoder.model.encode_text(sentences), dim=-1)
        means.append(vectors.mean(dim=0))
    return torch.stack(means)

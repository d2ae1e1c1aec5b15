"""words ──► (V, D) embeddings by the joint encoder's text half: the mean over templates.

Frozen: the encoder. Source: V2L Tokenizer, arXiv 2403.07874, section 3.1; templates as in CLIP, arXiv 2103.00020, section 3.1.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from v2l.codebook.shards import Shards
from v2l.encoders.base import JointEncoder


def embed_words(encoder: JointEncoder, words: Sequence[str], templates: Sequence[str], shards: Shards) -> Tensor:
    """Embed words as the mean of their unit vectors over the templates, renormalised.

    Args:
        encoder: the frozen joint encoder.
        words: surface forms without outer spaces.
        templates: sentences with one `{}` each.
        shards: where finished parts are kept.

    Returns:
        (V, D) float32, unit length.
    """
    parts = shards.run(list(words), [encoder.fingerprint, *templates], lambda part: mean_over_templates(encoder, part, templates))
    return torch.cat(parts)


def mean_over_templates(encoder: JointEncoder, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """(V, D) float32: the mean over templates of unit vectors, renormalised to unit length.

    The official code leaves the mean as it is, shorter than one; nearest by cosine is then not nearest by distance.
    """
    total = torch.zeros(len(words), encoder.dim)
    for template in templates:
        total += encoder.encode_texts([template.format(word) for word in words]).cpu()
    return functional.normalize(total, dim=-1)

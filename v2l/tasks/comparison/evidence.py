"""vectors of images + a codebook ──► how strongly each image speaks for each word.

Each image is taken to show one of the V words, with the probabilities

    p(w) = softmax over w of (cosine of image and word) / T

With the share s, an image has nothing to do with the others and shows any word. The evidence of an image for
a word is log((1 - s) p(w) + s / V). So one image that does not fit costs a word at most log(s / V), where the
mean of the vectors moves towards it. The mixture is ours; T and s were chosen on training photographs
(docs/adapters.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from v2l.codebook.codebook import Codebook
from v2l.codebook.variety import first_varied

CHUNK = 64  # images a product: bounds memory at 64 × V numbers
READ = 64  # for each word that is wanted, so many of the best are read to find varied ones


@dataclass(frozen=True)
class EvidenceSettings:
    """How cosines become evidence.

    Attributes:
        temperature: T of the softmax over the words.
        background: s, the share of images that have nothing to do with a word, in (0, 1).
    """

    temperature: float = 0.05
    background: float = 0.5


DEFAULT = EvidenceSettings()


def cosines_of(codebook: Codebook, vectors: Tensor) -> Tensor:
    """Vectors (n, D) of unit length ──► (n, V) float32 cosines of each with every word."""
    rows = codebook.embeddings.float()
    return torch.cat([part.float().cpu() @ rows.T for part in torch.split(vectors, CHUNK)])


def evidence_of(cosines: Tensor, settings: EvidenceSettings = DEFAULT) -> Tensor:
    """Cosines (n, V) ──► evidence (n, V), natural logarithms, at most 0."""
    share = settings.background
    probabilities = (cosines / settings.temperature).softmax(dim=-1)
    return ((1 - share) * probabilities + share / cosines.shape[-1]).log()


def best_varied(codebook: Codebook, scores: Tensor, count: int) -> list[int]:
    """The rows of the highest scores (V,), best first, without repetition (see `codebook.variety`)."""
    pick = partial(first_varied, codebook.families, codebook.phrase_parts)
    order = scores.topk(min(len(scores), READ * count)).indices.tolist()
    return [order[place] for place in pick(order, count)]

"""parts of an image ──► vectors and words: the naming that tokenizers of patches and clusters share.

A part is a set of patches. Its vector is the mean of their features, put into the joint space. Its word is
the nearest one of a codebook. Source: SeTok, arXiv 2406.05127, section 3.2, for the mean over a cluster; V2L
Tokenizer, arXiv 2403.07874, section 3.1, for the words.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torch.nn.utils.rnn import pad_sequence

from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import Layout, VisualTokens, Word


def part_tokens(
    namer: WordTagger, vectors: Sequence[Tensor], layout: Layout, rows: Sequence[Tensor] | None = None
) -> VisualTokens:
    """The tokens of B images, a word and a vector for each part.

    Args:
        namer: a codebook.
        vectors: (N_b, D) of unit length, for each image.
        layout: what each token covers.
        rows: (N_b,) int64 for each image, as in `name_parts`.
    """
    chosen: Sequence[Tensor | None] = rows or [None] * len(vectors)
    named = [name_parts(namer, each, row) for each, row in zip(vectors, chosen, strict=True)]
    ids, mask = padded([found.cpu() for found, _ in named])
    embeddings, _ = padded([each.cpu() for each in vectors])
    return VisualTokens("words", ids, embeddings, mask, layout, tuple(words for _, words in named))


def name_parts(
    namer: WordTagger, vectors: Tensor, rows: Tensor | None = None
) -> tuple[Tensor, tuple[Word, ...]]:
    """A word for each vector.

    Args:
        namer: a codebook.
        vectors: (N, D) of unit length.
        rows: (N,) int64, rows of the codebook that are chosen already; None takes the nearest.

    Returns:
        rows (N,) int64, and N words, each with the cosine of its vector.
    """
    if rows is None:
        cosines, found = namer.nearest(vectors, 1)
    else:
        entries = namer.codebook.embeddings.to(vectors.device, torch.float32)[rows]
        cosines, found = cosine_similarity(vectors, entries, dim=-1)[:, None], rows[:, None]
    return found[:, 0], tuple(words[0] for words in namer.readable(cosines, found))


def mean_features(features: Tensor, members: Tensor, count: int) -> Tensor:
    """The mean feature of each part.

    Args:
        features: (n, C) float32.
        members: (n,) int64, the part of each feature in [0, count); -1 for none.
        count: N, how many parts there are.

    Returns:
        (N, C) float32; 0 for a part without features.
    """
    inside = members >= 0
    sums = features.new_zeros(count, features.shape[1]).index_add_(0, members[inside], features[inside])
    return sums / members[inside].bincount(minlength=count).clamp(min=1)[:, None]


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Values of B images, (N_b, …) each ──► (B, N, …), 0 at padding, and the mask (B, N), False there."""
    values = pad_sequence(list(rows), batch_first=True)
    counts = torch.tensor([len(row) for row in rows])
    return values, torch.arange(values.shape[1])[None] < counts[:, None]

"""words of a codebook + frozen LLM ──► the words by which an adapter's soft tokens are read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from v2l.llm import FrozenLLM
from v2l.tokenizers.adapters.sliced import MARKS
from v2l.tokenizers.adapters.word_table import WordTable
from v2l.training.recipes.adapter import NEAREST
from v2l.training.recipes.adapter_data import CaptionedFeatures
from v2l.training.recipes.adapter_models import AdapterModels

TABLE_WORDS = 2000  # words of an adapter's table at most
CHUNK = 1024  # words whose tokens are embedded at once


def word_embeddings(llm: FrozenLLM, words: Sequence[str]) -> tuple[list[tuple[int, ...]], Tensor]:
    """The token ids of W words, and the mean of the LLM's input embeddings of each, (W, width) float32."""
    ids = [tuple(llm.encode_pieces(f" {word}")) for word in words]
    means = [_means(llm, ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK)]
    return ids, torch.cat(means)


def _means(llm: FrozenLLM, ids: Sequence[tuple[int, ...]]) -> Tensor:
    """The mean input embedding of each of n words, (n, width) float32."""
    vectors = llm.input_embeddings([token for some in ids for token in some]).float().cpu()
    owners = torch.repeat_interleave(torch.tensor([len(some) for some in ids]))
    sums = torch.zeros(len(ids), vectors.shape[1]).index_add(0, owners, vectors)
    return sums / owners.bincount(minlength=len(ids))[:, None]


def mark_embeddings(llm: FrozenLLM) -> Tensor:
    """What the LLM reads for the marks between slices, (2, width): a mean if a mark is several tokens."""
    return torch.cat([_means(llm, [tuple(llm.encode_pieces(mark))]) for mark in MARKS])


def embedding_scale(llm: FrozenLLM) -> float:
    """The root mean square of the LLM's input embeddings, by the first thousand ids."""
    ids = range(min(1000, llm.vocabulary_size))
    return float(llm.input_embeddings(list(ids)).float().square().mean().sqrt())


def table_rows(models: AdapterModels, data: CaptionedFeatures) -> list[int]:
    """The words of an adapter's table: those that are nearest to training images, most frequent first.

    An image votes for the `NEAREST` words of the mean of its patches.
    """
    means = torch.stack([one.float().flatten(0, 1).mean(dim=0) for one in data.features])  # (n, C)
    vectors, book = models.encoder.to_joint_space(means.to(models.encoder.device)).cpu(), models.codebook
    votes = book.nearest_varied(vectors, min(NEAREST, len(set(book.families))))[1]
    rows, counts = votes.flatten().unique(return_counts=True)
    best: list[int] = rows[counts.argsort(descending=True, stable=True)][:TABLE_WORDS].tolist()
    return best


def word_table(models: AdapterModels, rows: Sequence[int]) -> WordTable:
    """Rows of the codebook with the LLM's input embedding of each: the mean over the word's tokens."""
    words = tuple(models.codebook.entries[row].word for row in rows)
    ids, vectors = word_embeddings(models.llm, words)
    return WordTable(words, tuple(ids), vectors)

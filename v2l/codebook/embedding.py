"""words ──► (V, D) embeddings of the joint encoder's text half: the mean over prompt templates.

    e(w) = normalize( 1/T · Σ_t E_text(template_t with w) ),    with E_text of unit length

A prompt template is a sentence with a place for the word, as "a photo of a {}". Frozen: the encoder. Source:
V2L Tokenizer, arXiv 2403.07874, section 3.1; templates as in CLIP, arXiv 2103.00020, section 3.1.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from v2l.encoders.base import JointEncoder
from v2l.errors import V2LError
from v2l.mapped import on_disk
from v2l.shards import Shards


@dataclass(frozen=True)
class WordEmbedder:
    """Words ──► the means of their unit vectors over prompt templates.

    Attributes:
        encoder: the frozen joint encoder.
        templates: T sentences with one `{}` each.
        renormalize: whether the means are scaled to unit length. The official code does not do it, so its
            rows are shorter than one, and the nearest row by cosine is not always the nearest by Euclidean
            distance.
    """

    encoder: JointEncoder
    templates: Sequence[str]
    renormalize: bool = True

    @property
    def metadata(self) -> list[str]:
        """Everything that the vectors depend on, except the words."""
        return [
            self.encoder.fingerprint,
            *self.templates,
            "unit length" if self.renormalize else "plain mean",
        ]

    def embed(self, words: Sequence[str]) -> Tensor:
        """V words without surrounding spaces ──► (V, D) float32.

        Raises:
            V2LError: the encoder's vector of a word contains NaN or infinity.
        """
        total = torch.zeros(len(words), self.encoder.dim)
        for encode in self._sentences:
            total += encode(words).cpu()
        self._check(total, words)
        return functional.normalize(total, dim=-1) if self.renormalize else total / len(self.templates)

    @cached_property
    def _sentences(self) -> list[Callable[[Sequence[str]], Tensor]]:
        """One embedding function per template, with a prefix cache.

        The cache holds the keys and values of the template's beginning, such as "a photo of a".
        """
        return [self.encoder.in_template(template) for template in self.templates]

    def _check(self, total: Tensor, words: Sequence[str]) -> None:
        bad = (~total.isfinite().all(dim=-1)).nonzero().flatten().tolist()
        if bad:
            raise V2LError(
                f"the encoder {self.encoder.name!r} gives NaN or infinity "
                f"for {len(bad)} of {len(words)} words, as {words[bad[0]]!r}",
                "an encoder with finite weights, in float32 where half precision overflows",
                "another --encoder",
            )


def embed_words(
    embedder: WordEmbedder, words: Sequence[str], shards: Shards, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Embed words, one shard after another; equal words are embedded once.

    Args:
        embedder: words ──► vectors.
        words: V surface forms without surrounding spaces.
        shards: where the shards are kept, in float32.
        dtype: dtype of the result.

    Returns:
        (V, D), memory-mapped: it is on the disk, and only the rows that are read take memory.
    """
    row = {word: number for number, word in enumerate(dict.fromkeys(words))}
    distinct = on_disk(shards.each(list(row), embedder.metadata, embedder.embed), shards.folder, dtype)
    if len(row) == len(words):
        return distinct
    index = torch.tensor([row[word] for word in words])  # (V,) rows of `distinct`
    return on_disk((distinct[part] for part in torch.split(index, shards.size)), shards.folder, dtype)

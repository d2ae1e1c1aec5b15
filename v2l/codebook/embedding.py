"""words ──► (V, D) embeddings by the joint encoder's text half: the mean over templates.

Frozen: the encoder. Source: V2L Tokenizer, arXiv 2403.07874, section 3.1; templates as in CLIP, arXiv 2103.00020, section 3.1.4.
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
    """Words ──► the means of their unit vectors over templates.

    Attributes:
        encoder: the frozen joint encoder.
        templates: sentences with one `{}` each.
        renormalize: whether the means get unit length. The official code leaves them as they are, shorter than one; nearest by cosine is
            then not nearest by distance.
    """

    encoder: JointEncoder
    templates: Sequence[str]
    renormalize: bool = True

    @property
    def facts(self) -> list[str]:
        """All that the vectors depend on beside the words."""
        return [
            self.encoder.fingerprint,
            *self.templates,
            "unit length" if self.renormalize else "plain mean",
        ]

    def embed(self, words: Sequence[str]) -> Tensor:
        """V words without outer spaces ──► (V, D) float32, summed in float32.

        Raises:
            V2LError: the encoder gives no number for a word.
        """
        total = torch.zeros(len(words), self.encoder.dim)
        for encode in self._sentences:
            total += encode(words).cpu()
        self._check(total, words)
        return functional.normalize(total, dim=-1) if self.renormalize else total / len(self.templates)

    @cached_property
    def _sentences(self) -> list[Callable[[Sequence[str]], Tensor]]:
        """A template's own encoder each, so that what a sentence begins with is run once for all words."""
        return [self.encoder.in_template(template) for template in self.templates]

    def _check(self, total: Tensor, words: Sequence[str]) -> None:
        bad = (~total.isfinite().all(dim=-1)).nonzero().flatten().tolist()
        if bad:
            raise V2LError(
                f"the encoder {self.encoder.name!r} gives NaN or infinity for {len(bad)} of {len(words)} words, as {words[bad[0]]!r}",
                "an encoder with finite weights, in float32 where half precision overflows",
                "another --encoder",
            )


def embed_words(
    embedder: WordEmbedder, words: Sequence[str], shards: Shards, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Embed words part by part; equal words are embedded once.

    Args:
        embedder: words ──► vectors.
        words: V surface forms without outer spaces.
        shards: where finished parts are kept.
        dtype: what the result is rounded to; parts are kept in float32.

    Returns:
        (V, D), memory-mapped: it lies on the disk and takes memory only where it is read.
    """
    row = {word: number for number, word in enumerate(dict.fromkeys(words))}
    distinct = on_disk(shards.each(list(row), embedder.facts, embedder.embed), shards.folder, dtype)
    if len(row) == len(words):
        return distinct
    index = torch.tensor([row[word] for word in words])
    return on_disk((distinct[part] for part in index.split(shards.size)), shards.folder, dtype)

"""soft tokens ──► the nearest words, by the LLM's own input embeddings of some words.

The table is a part of an adapter's folder, so that a soft token has a readable word without the LLM.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.checkpoint import load_tensors, save_tensors
from v2l.tokens import Word

NAMES, VECTORS = "words.json", "words.safetensors"


@dataclass(frozen=True)
class WordTable:
    """W words in the LLM's input-embedding space.

    Attributes:
        words: their spellings.
        ids: the token ids of each.
        vectors: (W, width) float32, the mean input embedding of a word's tokens.
    """

    words: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    vectors: Tensor

    def nearest(self, soft: Tensor) -> list[Word]:
        """Soft tokens (N, width) ──► the nearest word of each, by the cosine.

        The mean of the table is subtracted first, because all input embeddings of an LLM share a direction.
        """
        if not self.words:
            return [Word("", (), 0.0)] * len(soft)
        centre = self.vectors.mean(dim=0)
        table = normalize(self.vectors - centre, dim=-1)
        scores, rows = (normalize(soft.float().cpu() - centre, dim=-1) @ table.T).max(dim=-1)
        return [
            Word(self.words[row], self.ids[row], score)
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write the table into an adapter's folder, in half precision."""
        entries = [{"word": word, "ids": ids} for word, ids in zip(self.words, self.ids, strict=True)]
        (folder / NAMES).write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")
        save_tensors(folder / VECTORS, {"vectors": self.vectors.half()})

    @classmethod
    def load(cls, folder: Path) -> WordTable:
        """Read what `save` wrote."""
        entries: Sequence[dict[str, list[int]]] = json.loads((folder / NAMES).read_text(encoding="utf-8"))
        vectors = load_tensors(folder / VECTORS)["vectors"].float()
        return cls(
            tuple(str(entry["word"]) for entry in entries),
            tuple(tuple(entry["ids"]) for entry in entries),
            vectors,
        )


def no_words(width: int) -> WordTable:
    """A table without words: soft tokens then have none."""
    return WordTable((), (), torch.empty(0, width))

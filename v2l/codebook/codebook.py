"""words with their token ids and embeddings ⇄ a directory; features ──► nearest words.

A codebook never needs the LLM: it carries the fingerprint of the LLM whose ids it holds. Source: V2L Tokenizer,
arXiv 2403.07874, section 3.1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.errors import V2LError

KIND, SCHEMA = "codebook", 1
CHUNK_BYTES = 64 * 2**20  # of scores held at once by `nearest`


@dataclass(frozen=True)
class Source:
    """Where a codebook comes from; two codebooks or models fit only if these agree.

    Attributes:
        llm: name of the LLM whose vocabulary it is.
        llm_fingerprint: hash of that LLM's tokenizer.
        encoder: name of the joint encoder that embedded it.
        encoder_fingerprint: hash of that encoder.
    """

    llm: str
    llm_fingerprint: str
    encoder: str
    encoder_fingerprint: str


@dataclass(frozen=True)
class Entry:
    """One codebook entry.

    Attributes:
        word: the surface form without outer spaces.
        ids: its token ids in the LLM's vocabulary.
        order: 1 subword, 2 bigram, 3 trigram.
        count: images that had it among their five nearest when it was filtered; 0 when unknown.
        aliases: other single token ids that the encoder reads just the same.
    """

    word: str
    ids: tuple[int, ...]
    order: int = 1
    count: int = 0
    aliases: tuple[int, ...] = ()


@dataclass(frozen=True)
class Codebook:
    """V words in the joint space.

    Attributes:
        entries: the words, in row order.
        embeddings: (V, D) float16 or float32, unit length.
        source: the LLM and the encoder it belongs to.
        facts: counts and settings of its making, for people and reports.
    """

    entries: tuple[Entry, ...]
    embeddings: Tensor
    source: Source
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.entries) != len(self.embeddings):
            raise V2LError(
                f"the codebook has {len(self.entries)} words for {len(self.embeddings)} rows", "one row a word", "v2l build-codebook"
            )
        if not len(self.entries):
            raise V2LError("the codebook has no words", "at least one word", "v2l build-codebook --min-count 1")
        if not torch.isfinite(self.embeddings).all():
            raise V2LError("the codebook's embeddings hold NaN or infinity", "finite numbers", "v2l build-codebook")

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def words(self) -> tuple[str, ...]:
        """The surface forms, in row order."""
        return tuple(entry.word for entry in self.entries)

    @cached_property
    def token_ids(self) -> Tensor:
        """(V,) int64: the single token id of each row; for local codebooks.

        Raises:
            V2LError: an entry is made of several tokens.
        """
        if any(len(entry.ids) != 1 for entry in self.entries):
            raise V2LError(
                "a local codebook needs single tokens, and this one has n-grams", "the codebook named local", "v2l build-codebook"
            )
        return torch.tensor([entry.ids[0] for entry in self.entries])

    @cached_property
    def row_of_token(self) -> dict[int, int]:
        """Token id ──► row, for entries of a single token and for their aliases."""
        rows = {alias: row for row, entry in enumerate(self.entries) for alias in entry.aliases}
        return rows | {entry.ids[0]: row for row, entry in enumerate(self.entries) if len(entry.ids) == 1}

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Per row, the word without case and plural: "Dogs" and "dog" are one family."""
        return tuple(family(entry.word) for entry in self.entries)

    def nearest(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The nearest words of each feature by cosine, in bounded memory.

        Args:
            features: (N, D), unit length, D as the codebook's.
            count: how many, at most V.

        Returns:
            scores (N, count) float32 and rows (N, count) int64, nearest first; ties go to the lower row.
        """
        rows = self.embeddings.to(features.device, torch.float32)
        chunk = max(1, CHUNK_BYTES // (4 * len(rows)))
        found = [(part.float() @ rows.T).sort(dim=-1, descending=True, stable=True) for part in features.split(chunk)]
        return torch.cat([scores[:, :count] for scores, _ in found]), torch.cat([order[:, :count] for _, order in found])

    def nearest_distinct(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """As `nearest`, with one word of each family: case and plural doubles would crowd out the rest.

        Raises:
            V2LError: the codebook has fewer than `count` families.
        """
        if count > len(set(self.families)):
            raise V2LError(
                f"asked for {count} words of a codebook with {len(set(self.families))} distinct ones", "fewer words", "a larger codebook"
            )
        wanted = min(len(self), 4 * count)
        scores, rows = self.nearest(features, wanted)
        picks = [self._first_of_families(order, count) for order in rows.tolist()]
        if any(len(pick) < count for pick in picks):
            scores, rows = self.nearest(features, len(self))
            picks = [self._first_of_families(order, count) for order in rows.tolist()]
        places = torch.tensor(picks, device=rows.device).view(len(features), count)  # (N, count) places in the sorted order
        return scores.gather(1, places), rows.gather(1, places)

    def select(self, rows: Sequence[int] | Tensor, **facts: Any) -> Codebook:
        """The codebook of some of its rows, in the given order; `facts` are added to its own."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        entries = tuple(self.entries[row] for row in index.tolist())
        return replace(self, entries=entries, embeddings=self.embeddings[index], facts=self.facts | facts)

    def save(self, target: str | Path) -> None:
        """Write it as a directory: manifest.json, entries.jsonl (one word a line, readable), embeddings.safetensors.

        Raises:
            V2LError: the place cannot be written; an older codebook there stays as it was.
        """
        with write_directory(target) as folder:
            lines = (json.dumps(vars(entry), ensure_ascii=False) for entry in self.entries)
            (folder / "entries.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
            save_tensors(folder / "embeddings.safetensors", {"embeddings": self.embeddings})
            shape = {"codebook_size": len(self), "codebook_dim": self.embeddings.shape[1]}
            write_manifest(folder, {"kind": KIND, "schema": SCHEMA, **shape, "source": vars(self.source), "facts": self.facts})

    @classmethod
    def load(cls, directory: str | Path) -> Codebook:
        """Read what `save` wrote.

        Raises:
            V2LError: the directory is no codebook, incomplete, damaged, or its parts disagree.
        """
        folder = Path(directory)
        manifest = read_manifest(folder, KIND, SCHEMA)
        lines = (folder / "entries.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
        entries = tuple(_entry(json.loads(line)) for line in lines)
        embeddings = load_tensors(folder / "embeddings.safetensors")["embeddings"]
        return cls(entries, embeddings, Source(**manifest["source"]), manifest["facts"])

    def _first_of_families(self, order: list[int], count: int) -> list[int]:
        """Places in `order` of the first word of each family, until there are `count`."""
        seen: set[str] = set()
        places: list[int] = []
        for place, row in enumerate(order):
            if self.families[row] in seen:
                continue
            seen.add(self.families[row])
            places.append(place)
            if len(places) == count:
                break
        return places


def family(word: str) -> str:
    """A word without case, joining marks, and a plural ending: words of one family mean the same to a reader."""
    plain = "".join(character for character in word.casefold() if character.isalnum()) or word
    for ending, stem in (("ies", "y"), ("sses", "ss"), ("ss", "ss"), ("s", "")):
        if plain.endswith(ending) and len(plain) > len(ending) + 2:
            return plain.removesuffix(ending) + stem
    return plain


def _entry(line: dict[str, Any]) -> Entry:
    return Entry(line["word"], tuple(line["ids"]), line["order"], line["count"], tuple(line["aliases"]))

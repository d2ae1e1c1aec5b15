"""words with their token ids and embeddings ⇄ a directory; features ──► nearest words.

A codebook never needs the LLM: it carries the fingerprint of the LLM whose ids it holds. Source: V2L Tokenizer,
arXiv 2403.07874, section 3.1.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.encoders.base import JointEncoder

KIND, SCHEMA = "codebook", 1
CHUNK_BYTES = 64 * 2**20  # of scores and their order held at once by `nearest`
BYTES_A_SCORE = 16  # float32 twice, and the int64 of its place
ROWS = 16384  # rows in single precision at once


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
        order: 1 subword, 2 bigram, 3 trigram; 0 when unknown.
        count: images that voted for it when it was filtered; 0 when unknown.
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
        embeddings: (V, D) float16 or float32, unit length unless `codebook.renormalize` is off.
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
                f"the codebook has {len(self.entries)} words for {len(self.embeddings)} rows",
                "one row a word",
                "v2l build-codebook",
            )
        if not len(self.entries):
            raise V2LError(
                "the codebook has no words", "at least one word", "v2l build-codebook --min-count 1"
            )
        if not self.embeddings.sum(dtype=torch.float32).isfinite():  # one NaN or infinity makes the sum one
            raise V2LError(
                "the codebook's embeddings hold NaN or infinity", "finite numbers", "v2l build-codebook"
            )

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
                "a local codebook needs single tokens, and this one has n-grams",
                "the codebook named local",
                "v2l build-codebook",
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
        """The nearest words of each feature by inner product, which is the cosine for rows of unit length, in bounded memory.

        Args:
            features: (N, D), unit length, D as the codebook's.
            count: how many, at most V.

        Returns:
            scores (N, count) float32 and rows (N, count) int64, nearest first; ties go to the lower row.
        """
        parts = features.split(max(1, CHUNK_BYTES // (BYTES_A_SCORE * min(len(self), ROWS))))
        found = [self._nearest(part.float(), count) for part in parts]
        return torch.cat([scores for scores, _ in found]), torch.cat([rows for _, rows in found])

    def nearest_distinct(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """As `nearest`, with one word of each family: case and plural doubles would crowd out the rest.

        Raises:
            V2LError: the codebook has fewer than `count` families.
        """
        if count > len(set(self.families)):
            raise V2LError(
                f"asked for {count} words of a codebook with {len(set(self.families))} distinct ones",
                "fewer words",
                "a larger codebook",
            )
        wanted = min(len(self), 4 * count)
        scores, rows = self.nearest(features, wanted)
        picks = [self._first_of_families(order, count) for order in rows.tolist()]
        if any(len(pick) < count for pick in picks):
            scores, rows = self.nearest(features, len(self))
            picks = [self._first_of_families(order, count) for order in rows.tolist()]
        places = torch.tensor(picks, device=rows.device).view(
            len(features), count
        )  # (N, count) places in the sorted order
        return scores.gather(1, places), rows.gather(1, places)

    def nearest_by_distance(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """As `nearest`, ranked by Euclidean distance to the rows as they are stored: of rows that have no unit length the longer ones win.

        Returns:
            cosines (N, count) float32 and rows (N, count) int64, nearest first; ties go to the lower row.

        Raises:
            V2LError: the codebook has fewer than `count` words.
        """
        if count > len(self):
            raise V2LError(
                f"asked for {count} words of a codebook with {len(self)}", "fewer words", "a larger codebook"
            )
        rows = self.embeddings.to(features.device, torch.float32)
        squares = rows.square().sum(dim=-1)
        chunk = max(1, CHUNK_BYTES // (4 * len(rows)))
        # |g - e|² = |g|² - 2 (g·e - |e|²/2), and |g| is the same for every row
        nearness = (part.float() @ rows.T - 0.5 * squares for part in features.split(chunk))
        found = torch.cat(
            [near.sort(dim=-1, descending=True, stable=True).indices[:, :count] for near in nearness]
        )  # (N, count)
        cosines = (features.float()[:, None] * rows[found]).sum(dim=-1) / squares[found].sqrt()
        return cosines, found

    def select(self, rows: Sequence[int] | Tensor, **facts: Any) -> Codebook:
        """The codebook of some of its rows, in the given order; `facts` are added to its own."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        entries = tuple(self.entries[row] for row in index.tolist())
        return replace(self, entries=entries, embeddings=self.embeddings[index], facts=self.facts | facts)

    def require_source(self, source: Source) -> None:
        """Refuse what comes of another LLM or another encoder.

        Raises:
            V2LError: they differ, with both values.
        """
        for kind in ("llm", "encoder"):
            (ours, mark), (theirs, other) = (
                (getattr(s, kind), getattr(s, f"{kind}_fingerprint")) for s in (self.source, source)
            )
            if mark != other:
                got = f"one codebook is of the {kind} {ours} ({mark[:12]}…), the other of {theirs} ({other[:12]}…)"
                raise V2LError(got, "codebooks of one LLM and one encoder", "v2l build-codebook")

    def require_encoder(self, encoder: JointEncoder) -> None:
        """Refuse another encoder than the one that embedded the words.

        Raises:
            V2LError: it is another one, with both fingerprints.
        """
        if encoder.fingerprint != self.source.encoder_fingerprint:
            raise V2LError(
                f"the encoder {encoder.name} has fingerprint {encoder.fingerprint}",
                f"{self.source.encoder} with fingerprint {self.source.encoder_fingerprint}, which embedded the codebooks",
                "v2l build-codebook with this encoder",
            )

    def merge(self, other: Codebook) -> Codebook:
        """This codebook's words, then the other's; of entries with the same token ids this codebook's stays.

        Raises:
            V2LError: they are of another LLM or another encoder.
        """
        self.require_source(other.source)
        known = {entry.ids for entry in self.entries}
        new = [row for row, entry in enumerate(other.entries) if entry.ids not in known]
        facts = {
            "merged": [self.facts, other.facts],
            "sizes": [len(self), len(other)],
            "duplicate": len(other) - len(new),
        }
        embeddings = torch.cat([self.embeddings, other.embeddings[new].to(self.embeddings.dtype)])
        return Codebook(
            self.entries + tuple(other.entries[row] for row in new), embeddings, self.source, facts
        )

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
            write_manifest(
                folder,
                {"kind": KIND, "schema": SCHEMA, **shape, "source": vars(self.source), "facts": self.facts},
            )

    @classmethod
    def load(cls, directory: str | Path) -> Codebook:
        """Read what `save` wrote.

        Raises:
            V2LError: the directory is no codebook, incomplete, damaged, or its parts disagree.
        """
        folder = Path(directory)
        manifest = read_manifest(folder, KIND, SCHEMA)
        lines = (folder / "entries.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
        with _without_collection():
            entries = tuple(_entry(json.loads(line)) for line in lines)
        embeddings = load_tensors(folder / "embeddings.safetensors")["embeddings"]
        return cls(entries, embeddings, Source(**manifest["source"]), manifest["facts"])

    def _nearest(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """`nearest` of a few features, with a few rows in single precision at a time."""
        scores = features.new_empty(len(features), 0)
        rows = torch.empty(len(features), 0, dtype=torch.int64, device=features.device)
        for first in range(0, len(self), ROWS):
            near = features @ self.embeddings[first : first + ROWS].to(features).T  # (N, ROWS)
            top = _stable_top(near, count)
            merged = torch.cat([rows, top + first], dim=1)
            scores, order = torch.cat([scores, near.gather(1, top)], dim=1).sort(
                dim=-1, descending=True, stable=True
            )
            scores, rows = scores[:, :count], merged.gather(1, order)[:, :count]
        return scores, rows

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


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep Python from searching for garbage while very many small objects are made, which would take longer than to make them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _stable_top(scores: Tensor, count: int) -> Tensor:
    """(N, V) ──► the columns of the `count` highest scores, ascending where scores are equal: (N, count), highest first, or all V."""
    count = min(count, scores.shape[1])
    top = scores.topk(count, dim=-1)
    if (
        (scores >= top.values[:, -1:]).sum(dim=-1) > count
    ).any():  # at the border scores are equal: topk would take any of them
        return scores.sort(dim=-1, descending=True, stable=True).indices[:, :count]
    columns = top.indices.sort(dim=-1).values
    return columns.gather(1, scores.gather(1, columns).sort(dim=-1, descending=True, stable=True).indices)


def _entry(line: dict[str, Any]) -> Entry:
    return Entry(line["word"], tuple(line["ids"]), line["order"], line["count"], tuple(line["aliases"]))

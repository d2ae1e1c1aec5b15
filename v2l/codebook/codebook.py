"""words with their token ids and embeddings ⇄ a directory; features ──► nearest words.

A codebook does not need the LLM, because it carries the fingerprint of the LLM whose ids it holds. Source:
V2L Tokenizer, arXiv 2403.07874, section 3.1.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.codebook.variety import family, first_distinct, first_varied, phrase_parts
from v2l.errors import V2LError
from v2l.files import write_text

if TYPE_CHECKING:
    from v2l.encoders.base import JointEncoder

KIND, SCHEMA = "codebook", 1
CHUNK_BYTES = 64 * 2**20  # bytes of scores and their order that `nearest` holds at once
BYTES_A_SCORE = 16  # two float32 and one int64
ROWS = 16384  # rows that are converted to float32 at once


@dataclass(frozen=True)
class Source:
    """The models with which a codebook was built.

    Two codebooks can be used together only if their fingerprints are equal.

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
        word: the surface form without surrounding spaces.
        ids: its token ids in the LLM's vocabulary.
        order: 1 subword, 2 bigram, 3 trigram; 0 when unknown.
        count: number of images that voted for it in the filter; 0 when unknown.
        aliases: other single token ids whose text the encoder tokenizes identically.
        definition: what it means, from a lexicon; empty without one. A word of two meanings has two entries
            with the same ids.
    """

    word: str
    ids: tuple[int, ...]
    order: int = 1
    count: int = 0
    aliases: tuple[int, ...] = ()
    definition: str = ""

    @property
    def key(self) -> tuple[tuple[int, ...], str]:
        """What no two entries of a codebook share: token ids and definition."""
        return self.ids, self.definition


@dataclass(frozen=True)
class Codebook:
    """V words in the joint space.

    Attributes:
        entries: the words, in row order.
        embeddings: (V, D) float16 or float32, unit length unless `codebook.renormalize` is off.
        source: the LLM and the encoder it belongs to.
        metadata: counts and settings of its construction, for people and reports; the key `facts` of its
            manifest.
    """

    entries: tuple[Entry, ...]
    embeddings: Tensor
    source: Source
    metadata: dict[str, Any] = field(default_factory=dict)
    _unit_rows: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

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
        # A sum with one NaN or infinity is not finite; this needs no (V, D) mask.
        if not self.embeddings.sum(dtype=torch.float32).isfinite():
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
    def fingerprint(self) -> str:
        """A hash of the entries and their embeddings: 16 hexadecimal digits of a SHA-256."""
        lines = "\n".join(json.dumps(_line(entry)) for entry in self.entries)
        digest = hashlib.sha256(f"{lines}{self.embeddings.dtype}".encode())
        digest.update(self.embeddings.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def token_ids(self) -> Tensor:
        """(V,) int64: the single token id of each row; for local codebooks.

        Raises:
            V2LError: an entry consists of several tokens.
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
        """Per row, the family of its word: without case and plural, so "Dogs" and "dog" are one family."""
        return tuple(family(entry.word) for entry in self.entries)

    @cached_property
    def family_numbers(self) -> Tensor:
        """(V,) int64: per row, the place of its family among all families, in alphabetical order."""
        numbers = {name: number for number, name in enumerate(sorted(set(self.families)))}
        return torch.tensor([numbers[name] for name in self.families])

    @torch.inference_mode(mode=False)  # kept rows must serve gradients, too
    @torch.no_grad()
    def unit_rows(self, device: torch.device) -> Tensor:
        """(V, D) float32, unit length, on a device; only those of the last device are kept."""
        if not self._unit_rows or self._unit_rows[0].device != device:
            self._unit_rows[:] = [normalize(self.embeddings.to(device, torch.float32), dim=-1)]
        return self._unit_rows[0]

    @cached_property
    def phrase_parts(self) -> tuple[frozenset[str], ...]:
        """Per row, the families of the words in its phrase; empty for a single word."""
        return tuple(phrase_parts(entry.word) for entry in self.entries)

    def nearest(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The nearest words of each feature by inner product, with bounded memory.

        For rows of unit length, the inner product is the cosine.

        Args:
            features: (N, D), unit length, D as in the codebook.
            count: number of words per feature, at most V.

        Returns:
            scores (N, count) float32 and rows (N, count) int64, nearest first; ties go to the lower row.
        """
        chunk = max(1, CHUNK_BYTES // (BYTES_A_SCORE * min(len(self), ROWS)))
        found = [self._nearest(part.float(), count) for part in torch.split(features, chunk)]
        return torch.cat([scores for scores, _ in found]), torch.cat([rows for _, rows in found])

    def nearest_distinct(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """As `nearest`, with at most one word of each family.

        Otherwise "dog", "Dog" and "dogs" would displace other words.

        Raises:
            V2LError: the codebook has fewer than `count` families.
        """
        return self._nearest_first(features, count, partial(first_distinct, self.families), 8 * count)

    def nearest_varied(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """As `nearest_distinct`, with phrases that share no word: "painted daisy", then not "common daisy".

        Raises:
            V2LError: the codebook has fewer than `count` such words.
        """
        rule = partial(first_varied, self.families, self.phrase_parts)
        return self._nearest_first(features, count, rule, 8 * count)

    def _nearest_first(
        self,
        features: Tensor,
        count: int,
        first: Callable[[Sequence[int], int], list[int]],
        among: int,
    ) -> tuple[Tensor, Tensor]:
        """The first of the nearest words, by a rule that takes rows in order and returns positions.

        The nearest `among` words usually contain enough. Features for which they do not, and only these, are
        compared again, among eight times as many.
        """
        among = min(len(self), among)
        scores, rows = self.nearest(features, among)
        picks = [first(order, count) for order in rows.tolist()]
        short = [place for place, pick in enumerate(picks) if len(pick) < count]
        if short and among == len(self):
            fewest = min(len(picks[place]) for place in short)
            raise V2LError(
                f"asked for {count} words of a codebook with {fewest} distinct ones",
                "fewer words",
                "a larger codebook",
            )
        # (N, count) positions in the sorted order; view, because torch.tensor([]) would have the wrong shape
        # for N = 0. Short rows are filled up, then replaced.
        filled = [pick + [0] * (count - len(pick)) for pick in picks]
        places = torch.tensor(filled, dtype=torch.int64, device=rows.device).view(len(features), count)
        scores, rows = scores.gather(1, places), rows.gather(1, places)
        if short:
            scores[short], rows[short] = self._nearest_first(features[short], count, first, 8 * among)
        return scores, rows

    def nearest_by_distance(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """As `nearest`, ranked by Euclidean distance to the rows as they are stored.

        The rows need not have unit length. The official code ranks this way.

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
        cosines, found = [], []
        for part in torch.split(features, chunk):
            products = part.float() @ rows.T  # (n, V)
            # |g - e|² = |g|² - 2 (g·e - |e|²/2), and |g|² is the same for every row e: so a larger
            # g·e - |e|²/2 is nearer.
            nearness = products - 0.5 * squares
            found.append(nearness.sort(dim=-1, descending=True, stable=True).indices[:, :count])
            cosines.append(products.gather(1, found[-1]) / squares[found[-1]].sqrt())
        return torch.cat(cosines), torch.cat(found)

    def select(self, rows: Sequence[int] | Tensor, **metadata: Any) -> Codebook:
        """The codebook of some of the rows, in the given order; `metadata` is added to its own."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        entries = tuple(self.entries[row] for row in index.tolist())
        return replace(
            self, entries=entries, embeddings=self.embeddings[index], metadata=self.metadata | metadata
        )

    def require_source(self, source: Source) -> None:
        """Check that something was built with the same LLM and the same encoder.

        Raises:
            V2LError: they differ, with both values.
        """
        for kind in ("llm", "encoder"):
            ours, own_hash = getattr(self.source, kind), getattr(self.source, f"{kind}_fingerprint")
            theirs, their_hash = getattr(source, kind), getattr(source, f"{kind}_fingerprint")
            if own_hash != their_hash:
                got = (
                    f"one codebook is of the {kind} {ours} ({own_hash[:12]}…), "
                    f"the other of {theirs} ({their_hash[:12]}…)"
                )
                raise V2LError(got, "codebooks of one LLM and one encoder", "v2l build-codebook")

    def require_encoder(self, encoder: JointEncoder) -> None:
        """Check that an encoder is the one that embedded the words.

        Raises:
            V2LError: it is another encoder; the message has both fingerprints.
        """
        if encoder.fingerprint != self.source.encoder_fingerprint:
            raise V2LError(
                f"the encoder {encoder.name} has fingerprint {encoder.fingerprint}",
                f"{self.source.encoder} with fingerprint {self.source.encoder_fingerprint}, "
                "which embedded the codebooks",
                "v2l build-codebook with this encoder",
            )

    def merge(self, other: Codebook) -> Codebook:
        """This codebook's words, then the other's.

        Of entries with equal token ids and definition, this codebook's is kept.

        Raises:
            V2LError: the codebooks were built with different LLMs or encoders.
        """
        self.require_source(other.source)
        known = {entry.key for entry in self.entries}
        new = [row for row, entry in enumerate(other.entries) if entry.key not in known]
        metadata = {
            "merged": [self.metadata, other.metadata],
            "sizes": [len(self), len(other)],
            "duplicate": len(other) - len(new),
        }
        embeddings = torch.cat([self.embeddings, other.embeddings[new].to(self.embeddings.dtype)])
        return Codebook(
            self.entries + tuple(other.entries[row] for row in new), embeddings, self.source, metadata
        )

    def save(self, target: str | Path) -> None:
        """Write the codebook as a directory.

        It holds manifest.json, entries.jsonl (readable, one word per line) and
        embeddings.safetensors.

        Raises:
            V2LError: the target cannot be written; an older codebook there is not changed.
        """
        with write_directory(target) as folder:
            lines = (json.dumps(_line(entry), ensure_ascii=False) for entry in self.entries)
            write_text(folder / "entries.jsonl", "\n".join(lines) + "\n")
            save_tensors(folder / "embeddings.safetensors", {"embeddings": self.embeddings})
            shape = {"codebook_size": len(self), "codebook_dim": self.embeddings.shape[1]}
            write_manifest(
                folder,
                {
                    "kind": KIND,
                    "schema": SCHEMA,
                    **shape,
                    "source": vars(self.source),
                    "facts": self.metadata,
                },
            )

    @classmethod
    def load(cls, directory: str | Path) -> Codebook:
        """Read what `save` wrote.

        Raises:
            V2LError: the directory is not a codebook, is incomplete or damaged, or its files disagree.
        """
        folder = Path(directory)
        manifest = read_manifest(folder, KIND, SCHEMA)
        lines = (folder / "entries.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
        with _without_collection():
            entries = tuple(_entry(json.loads(line)) for line in lines)
        embeddings = load_tensors(folder / "embeddings.safetensors")["embeddings"]
        return cls(entries, embeddings, Source(**manifest["source"]), manifest["facts"])

    def _nearest(self, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """`nearest` for few features: the best of each block of `ROWS` rows join the best so far."""
        scores = features.new_empty(len(features), 0)
        rows = torch.empty(len(features), 0, dtype=torch.int64, device=features.device)
        for first in range(0, len(self), ROWS):
            near = features @ self.embeddings[first : first + ROWS].to(features).T  # (N, ROWS)
            top = _stable_top(near, count)  # (N, count) columns of `near`
            merged = torch.cat([rows, top + first], dim=1)
            scores, order = torch.cat([scores, near.gather(1, top)], dim=1).sort(
                dim=-1, descending=True, stable=True
            )
            scores, rows = scores[:, :count], merged.gather(1, order)[:, :count]
        return scores, rows


@contextmanager
def _without_collection() -> Iterator[None]:
    """Switch garbage collection off while very many small objects are created.

    Otherwise the collector would search all of them again and again, which takes longer than their creation.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _stable_top(scores: Tensor, count: int) -> Tensor:
    """The columns of the `count` highest scores of each row, equal to a stable sort, but faster.

    Args:
        scores: (N, V).
        count: columns per row; at most V are returned.

    Returns:
        (N, min(count, V)) int64, highest score first; columns with equal scores in ascending order.
    """
    count = min(count, scores.shape[1])
    top = scores.topk(count, dim=-1)
    # If the lowest score of the top also occurs outside it, topk chose among equals arbitrarily.
    if ((scores >= top.values[:, -1:]).sum(dim=-1) > count).any():
        return scores.sort(dim=-1, descending=True, stable=True).indices[:, :count]
    # Otherwise the set of columns is right: put it in ascending order, then sort stably by score.
    columns = top.indices.sort(dim=-1).values
    return columns.gather(1, scores.gather(1, columns).sort(dim=-1, descending=True, stable=True).indices)


def _line(entry: Entry) -> dict[str, Any]:
    """What `entries.jsonl` holds of an entry; a definition only where there is one."""
    return {key: value for key, value in vars(entry).items() if key != "definition" or value}


def _entry(line: dict[str, Any]) -> Entry:
    ids, aliases = tuple(line["ids"]), tuple(line["aliases"])
    return Entry(line["word"], ids, line["order"], line["count"], aliases, line.get("definition", ""))

"""LLM + joint encoder + images ──► the local and the global codebook, step by step.

Source: V2L Tokenizer, arXiv 2403.07874, section 3.1. Every step keeps its finished parts, so a stopped build goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from v2l.checkpoint import write_directory, write_manifest
from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.codebook.embedding import embed_words
from v2l.codebook.expansion import Gram, dangles, expand, opening_prompt
from v2l.codebook.filtering import count_top_candidates, image_features
from v2l.codebook.shards import Progress, Shards, silent
from v2l.codebook.vocabulary import LanguageTokens, Vocabulary, read_vocabulary
from v2l.config import CodebookConfig
from v2l.encoders.base import JointEncoder
from v2l.prompts.prompt import Prompt

KIND, SCHEMA = "codebooks", 1


class ExpandingLLM(LanguageTokens, Protocol):
    """What a build asks of the frozen LLM; it comes in as a value."""

    name: str
    fingerprint: str

    def next_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        """The most likely next token id of each prompt."""
        ...


@dataclass(frozen=True)
class CodebookBuilder:
    """The steps of a build, which share their models and their settings.

    Attributes:
        encoder: embeds words and images.
        llm: gives the vocabulary, and continues its words.
        config: settings, all recorded in the result.
        work: folder for finished parts.
        progress: told after every part.
    """

    encoder: JointEncoder
    llm: ExpandingLLM
    config: CodebookConfig
    work: Path
    progress: Progress = silent

    @property
    def source(self) -> Source:
        """Names and fingerprints of both models."""
        return Source(self.llm.name, self.llm.fingerprint, self.encoder.name, self.encoder.fingerprint)

    def build(self, images: Sequence[Path], target: str | Path) -> tuple[Codebook, Codebook]:
        """Build both codebooks and write them to `target`/local and `target`/global.

        Args:
            images: the photographs that filter the global codebook.
            target: a new directory, or an older build to replace.

        Returns:
            The local and the global codebook.

        Raises:
            V2LError: no image is readable, no word is left, or the place cannot be written.
        """
        with write_directory(target) as folder:  # refuses a place that cannot be written before the long work
            features, unreadable = image_features(self.encoder, images, self._shards("encoding images", 256))
            vocabulary = read_vocabulary(self.llm, self.encoder.tokenize_texts)
            grams, lost = self.candidates(vocabulary)
            local = self._local(vocabulary, self._embed(vocabulary.surfaces))
            everything = self._global(grams, self._embed([gram.surface for gram in grams]), lost)
            filtered = self.filter(everything, features, unreadable_images=[path.name for path in unreadable])
            local.save(folder / "local")
            filtered.save(folder / "global")
            write_manifest(folder, {"kind": KIND, "schema": SCHEMA, "source": vars(self.source), "config": asdict(self.config)})
        return local, filtered

    @property
    def templates(self) -> tuple[str, ...]:
        """The sentences that words are put into: the configured ones, else the encoder's own."""
        return self.config.templates or self.encoder.templates

    def candidates(self, vocabulary: Vocabulary) -> tuple[list[Gram], dict[str, int]]:
        """Subwords, then bigrams, then trigrams, one for each distinct reading; and how many went, by reason.

        A fragment begins no word ("issance") and means nothing by itself, so it is no candidate: in the joint space such entries
        lie near everything and would stand among the words of every image.
        """
        subwords = zip(vocabulary.ids, vocabulary.surfaces, strict=True)
        grams = [Gram((token_id,), surface) for token_id, surface in subwords if token_id not in vocabulary.fragments]
        lost: dict[str, int] = vocabulary.dropped | {"fragment": len(vocabulary.fragments)}
        longest = grams
        for order in range(2, self.config.max_order + 1):
            continuations = self._continuations(longest, f"expanding to {order}-grams")
            longest, without = expand(longest, self.llm, continuations)
            lost[f"no {order}-gram (the continuation is no word)"] = without
            grams = grams + longest
        whole = [gram for gram in grams if not dangles(gram)]
        lost["n-gram that dangles"] = len(grams) - len(whole)
        distinct: dict[tuple[int, ...], Gram] = {}
        for gram, reading in zip(whole, self.encoder.tokenize_texts([gram.surface.strip() for gram in whole]), strict=True):
            distinct.setdefault(reading, gram)
        lost["duplicate n-gram"] = len(whole) - len(distinct)
        return list(distinct.values()), lost

    def filter(self, candidates: Codebook, features: torch.Tensor, **facts: Any) -> Codebook:
        """Keep the candidates that enough images have among their five nearest, in the order of the candidates.

        Args:
            candidates: the codebook before filtering.
            features: (n, D) float32, the images' vectors.
            facts: what else the result tells about its making.
        """
        counts = count_top_candidates(features, candidates.embeddings)
        counted = [
            Entry(entry.word, entry.ids, entry.order, count, entry.aliases)
            for entry, count in zip(candidates.entries, counts.tolist(), strict=True)
        ]
        kept = (counts >= self.config.min_count).nonzero().flatten()
        if self.config.keep:  # the most often seen, and of equals the first
            most = counts.sort(descending=True, stable=True).indices[: self.config.keep]
            kept = most[counts[most] >= self.config.min_count].sort().values
        facts |= {"candidates": len(counted), "images": len(features), "min_count": self.config.min_count}
        return Codebook(tuple(counted), candidates.embeddings.half(), candidates.source, candidates.facts).select(kept, **facts)

    def _local(self, vocabulary: Vocabulary, embeddings: torch.Tensor) -> Codebook:
        entries = tuple(
            Entry(surface.strip(), (token_id,), aliases=aliases)
            for token_id, surface, aliases in zip(vocabulary.ids, vocabulary.surfaces, vocabulary.aliases, strict=True)
        )
        facts = {"vocabulary": self.llm.vocabulary_size, "dropped": vocabulary.dropped, "templates": list(self.templates)}
        return Codebook(entries, embeddings.half(), self.source, facts)

    def _global(self, grams: list[Gram], embeddings: torch.Tensor, lost: dict[str, int]) -> Codebook:
        entries = tuple(Entry(gram.surface.strip(), gram.ids, gram.order) for gram in grams)
        return Codebook(entries, embeddings.half().float(), self.source, {"dropped": lost, "templates": list(self.templates)})

    def _embed(self, surfaces: Sequence[str]) -> torch.Tensor:
        words = [surface.strip() for surface in surfaces]
        return embed_words(self.encoder, words, self.templates, self._shards("embedding words"))

    def _continuations(self, grams: list[Gram], step: str) -> list[int]:
        """The LLM's most likely next token id after "a photo of" and each gram."""
        prompts = [opening_prompt(gram) for gram in grams]
        parts = self._shards(step, 1024).run(
            prompts, [self.llm.name, self.llm.fingerprint], lambda part: torch.tensor(self.llm.next_tokens(part))
        )
        return [token_id for part in parts for token_id in part.tolist()]

    def _shards(self, step: str, size: int = 4096) -> Shards:
        return Shards(self.work, step, self.progress, size)

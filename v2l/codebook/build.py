"""LLM + joint encoder + images ──► the local and the global codebook, step by step.

Source: V2L Tokenizer, arXiv 2403.07874, section 3.1. Every step keeps its finished parts, so a stopped build goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch

from v2l.checkpoint import write_directory, write_manifest
from v2l.codebook.build_lock import begun
from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.codebook.embedding import WordEmbedder, embed_words
from v2l.codebook.expansion import Gram, dangles, expand, opening_prompt
from v2l.codebook.filtering import Rule, count_votes, encode_files, filter_candidates, unreadable_files
from v2l.codebook.vocabulary import LanguageTokens, Vocabulary, read_vocabulary
from v2l.config import CodebookConfig
from v2l.encoders.base import JointEncoder
from v2l.processes import ALONE, World
from v2l.prompts.prompt import Prompt
from v2l.shards import Progress, Shards, silent
from v2l.sources import ImageFile

KIND, SCHEMA = "codebooks", 1


class ExpandingLLM(LanguageTokens, Protocol):
    """What a build asks of the frozen LLM; it comes in as a value."""

    name: str
    fingerprint: str
    weights_fingerprint: str

    def next_tokens(self, prompts: Sequence[Prompt], count: int) -> list[tuple[int, ...]]:
        """The `count` likeliest next token ids of each prompt, likeliest first."""
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
        image_work: folder for the images' vectors, which other work may share; by default `work`.
        world: the processes that build together.
    """

    encoder: JointEncoder
    llm: ExpandingLLM
    config: CodebookConfig
    work: Path
    progress: Progress = silent
    image_work: Path | None = None
    world: World = ALONE

    @property
    def source(self) -> Source:
        """Names and fingerprints of both models."""
        return Source(self.llm.name, self.llm.fingerprint, self.encoder.name, self.encoder.fingerprint)

    def build(
        self,
        images: Sequence[ImageFile],
        target: str | Path,
        keep_candidates: bool = False,
        replace_other: bool = False,
    ) -> tuple[Codebook, Codebook]:
        """Build both codebooks and write them to `target`/local and `target`/global.

        Args:
            images: the photographs that filter the global codebook.
            target: a new directory, or an older build with the same settings to replace.
            keep_candidates: write `target`/candidates too: the global codebook before the filter, with all counts.
            replace_other: replace whatever v2l wrote there, also with other settings.

        Returns:
            The local and the global codebook.

        Raises:
            V2LError: no image is readable, no word is left, the target was begun or built with other settings, or it cannot be written.
        """
        manifest = {
            "kind": KIND,
            "schema": SCHEMA,
            "source": vars(self.source),
            "config": asdict(self.config),
        }
        with self._writing(
            target, manifest, replace_other
        ) as folder:  # refuses a place that cannot be written before the long work
            local, candidates = self.embedded(images)
            filtered = filter_candidates(
                candidates, Rule(self.config.min_count, self.config.keep, self.config.keep_share)
            )
            if folder is not None:
                books = {"local": local, "global": filtered} | (
                    {"candidates": candidates} if keep_candidates else {}
                )
                for name, codebook in books.items():
                    codebook.save(folder / name)
                write_manifest(folder, manifest)
        self.world.wait()
        return local, filtered

    def embedded(self, images: Sequence[ImageFile]) -> tuple[Codebook, Codebook]:
        """The local codebook, and all candidates of the global one with their counts.

        Raises:
            V2LError: no image is readable.
        """
        image_shards = replace(self._shards("encoding images", 256), folder=self.image_work or self.work)
        vectors = encode_files(self.encoder, images, image_shards)
        unreadable = unreadable_files(images, vectors)
        vocabulary = read_vocabulary(self.llm, self.encoder.tokenize_texts)
        grams, lost = self.candidates(vocabulary)
        embeddings = self._embed(
            [*vocabulary.surfaces, *(gram.surface for gram in grams)]
        )  # most local words are candidates too
        local = self._local(vocabulary, embeddings[: len(vocabulary)])
        candidates = self._global(grams, embeddings[len(vocabulary) :], lost)
        counts = count_votes(vectors, candidates.embeddings.float(), self.world, self.config.votes).tolist()
        counted = [
            Entry(e.word, e.ids, e.order, count, e.aliases)
            for e, count in zip(candidates.entries, counts, strict=True)
        ]
        facts = {
            "images": len(images) - len(unreadable),
            "votes": self.config.votes,
            "unreadable_images": [file.name for file in unreadable],
        }
        return local, replace(candidates, entries=tuple(counted), facts=candidates.facts | facts)

    @property
    def templates(self) -> tuple[str, ...]:
        """The sentences that words are put into: the configured ones, else the encoder's own."""
        return self.config.templates or self.encoder.templates

    def candidates(self, vocabulary: Vocabulary) -> tuple[list[Gram], dict[str, int]]:
        """Subwords, then bigrams, then trigrams, one for each distinct reading; and how many went, by reason.

        Three kinds mean nothing by themselves, so they are no candidates: in the joint space such entries lie near everything and would
        stand among the words of every image. A fragment begins no word ("issance"), an unfinished word is only the beginning of one
        ("promulg"), and an n-gram dangles when it ends in "of" or "that". Without `words_only` all stay.
        """
        words_only = self.config.words_only
        fragments = vocabulary.fragments if words_only else frozenset()
        subwords = zip(vocabulary.ids, vocabulary.surfaces, strict=True)
        grams = [Gram((token_id,), surface) for token_id, surface in subwords if token_id not in fragments]
        lost: dict[str, int] = vocabulary.dropped | {"fragment": len(fragments)}
        longest, unfinished = grams, []
        for order in range(2, self.config.max_order + 1):
            continuations = self._continuations(longest, f"expanding to {order}-grams")
            unfinished += self._unfinished(longest, continuations) if words_only else []
            longest, without = expand(longest, self.llm, continuations, words_only)
            lost[f"no {order}-gram (the continuation is no word)"] = without
            grams = grams + longest
        left_out = {
            "unfinished word": set(unfinished),
            "n-gram that dangles": set(filter(dangles, grams)) if words_only else set(),
        }
        for reason, going in left_out.items():
            staying = [gram for gram in grams if gram not in going]
            lost[reason], grams = len(grams) - len(staying), staying
        distinct: dict[tuple[int, ...], Gram] = {}
        for gram, reading in zip(
            grams, self.encoder.tokenize_texts([gram.surface.strip() for gram in grams]), strict=True
        ):
            distinct.setdefault(reading, gram)
        lost["duplicate n-gram"] = len(grams) - len(distinct)
        return list(distinct.values()), lost

    def _unfinished(self, grams: Sequence[Gram], continuations: Sequence[Sequence[int]]) -> list[Gram]:
        """The grams whose last word the LLM goes on with and the encoder knows in pieces only: "promulg", but not "sun" before "flower"."""
        going_on = [
            gram
            for gram, ids in zip(grams, continuations, strict=True)
            if ids and self.llm.surface(ids[0])[:1].isalpha()
        ]
        plain, *readings = self.encoder.tokenize_texts(
            ["a", *(gram.surface.split()[-1] for gram in going_on)]
        )
        return [gram for gram, reading in zip(going_on, readings, strict=True) if len(reading) > len(plain)]

    def _local(self, vocabulary: Vocabulary, embeddings: torch.Tensor) -> Codebook:
        entries = tuple(
            Entry(surface.strip(), (token_id,), aliases=aliases)
            for token_id, surface, aliases in zip(
                vocabulary.ids, vocabulary.surfaces, vocabulary.aliases, strict=True
            )
        )
        facts = {
            "vocabulary": self.llm.vocabulary_size,
            "dropped": vocabulary.dropped,
            "templates": list(self.templates),
        }
        return Codebook(entries, embeddings.half(), self.source, facts)

    def _global(self, grams: list[Gram], embeddings: torch.Tensor, lost: dict[str, int]) -> Codebook:
        entries = tuple(Entry(gram.surface.strip(), gram.ids, gram.order) for gram in grams)
        return Codebook(
            entries, embeddings.half(), self.source, {"dropped": lost, "templates": list(self.templates)}
        )

    def _embed(self, surfaces: Sequence[str]) -> torch.Tensor:
        """(V, D) float16, memory-mapped."""
        embedder = WordEmbedder(self.encoder, self.templates, self.config.renormalize)
        return embed_words(
            embedder,
            [surface.strip() for surface in surfaces],
            self._shards("embedding words", 512),
            torch.float16,
        )

    def _continuations(self, grams: list[Gram], step: str) -> list[tuple[int, ...]]:
        """The LLM's likeliest next token ids after every opening with each gram, each id once."""
        count, found = self.config.continuations, []
        for opening in self.config.openings:
            prompts = [opening_prompt(gram, opening) for gram in grams]
            facts = [self.llm.fingerprint, self.llm.weights_fingerprint, str(count)]
            parts = self._shards(step, 1024).run(
                prompts, facts, lambda part: torch.tensor(self.llm.next_tokens(part, count))
            )
            found.append([tuple(ids) for part in parts for ids in part.tolist()])
        return [tuple(dict.fromkeys(chain(*ids))) for ids in zip(*found, strict=True)]

    def _shards(self, step: str, size: int = 4096) -> Shards:
        return Shards(self.work, step, self.progress, size, self.world)

    @contextmanager
    def _writing(
        self, target: str | Path, manifest: dict[str, Any], replace_other: bool
    ) -> Iterator[Path | None]:
        """The directory to fill; None in the processes that do not lead."""
        if not self.world.leads:
            yield None
            return
        with begun(target, self.work, manifest, replace_other), write_directory(target) as folder:
            yield folder

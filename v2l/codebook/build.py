"""LLM + joint encoder + images ──► the local and the global codebook, step by step.

Source: V2L Tokenizer, arXiv 2403.07874, section 3.1. Every step keeps its results on the disk in shards, so
that a stopped build can continue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.nn import functional

from v2l.checkpoint import write_directory, write_manifest
from v2l.codebook.build_lock import locked_settings
from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.codebook.embedding import WordEmbedder, embed_words
from v2l.codebook.expansion import Gram, ends_in_function_word, expand, opening_prompt
from v2l.codebook.filtering import Rule, count_votes, filter_candidates
from v2l.codebook.lexicon import Frequencies, read_lexicon
from v2l.codebook.lexicon_grams import (
    Dropped,
    distinct_readings,
    export_dropped,
    frequent_enough,
    spelled,
)
from v2l.codebook.vocabulary import LanguageTokens, Vocabulary, read_vocabulary
from v2l.codebook.wordlist import WritingLLM
from v2l.config import CodebookConfig
from v2l.encoders.base import JointEncoder
from v2l.encoders.image_features import encode_files, unreadable_files
from v2l.engines.engine import Engine
from v2l.processes import ALONE, World
from v2l.progress import Progress, silent
from v2l.prompts.prompt import Prompt
from v2l.shards import Shards
from v2l.sources import ImageFile

KIND, SCHEMA = "codebooks", 1


class ExpandingLLM(LanguageTokens, WritingLLM, Protocol):
    """The interface of the frozen LLM that a build needs.

    The LLM is an argument, because `codebook` does not import `llm`.
    """

    @property
    def weights_fingerprint(self) -> str:
        """sha256 of its weights."""
        ...

    def next_tokens(self, prompts: Sequence[Prompt], count: int) -> list[tuple[int, ...]]:
        """The `count` most probable next token ids of each prompt, most probable first."""
        ...


@dataclass(frozen=True)
class CodebookBuilder:
    """The steps of a build; they share the models and the settings.

    Attributes:
        encoder: embeds words and images.
        llm: provides the vocabulary, and continues its words to n-grams.
        config: settings; all of them are recorded in the result.
        work: folder for the shards.
        progress: called after every shard.
        image_work: folder for the image vectors, which training and evaluation use, too; by default `work`.
        world: the processes that build together.
        dropped_table: table to write, with every word that is no candidate and the reason; None for none.
        engine: encodes the images; None: the processes of `world`.
    """

    encoder: JointEncoder
    llm: ExpandingLLM
    config: CodebookConfig
    work: Path
    progress: Progress = silent
    image_work: Path | None = None
    world: World = ALONE
    dropped_table: Path | None = None
    engine: Engine | None = None

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
            images: the photographs whose votes filter the global codebook.
            target: a new directory, or an older build with the same settings, which is replaced.
            keep_candidates: also write `target`/candidates: the global codebook before the filter, with all
                votes.
            replace_other: replace an older build even if its settings differ.

        Returns:
            The local and the global codebook.

        Raises:
            V2LError: no image is readable, no word is left, the target was started or built with other
                settings, or it cannot be written.
        """
        manifest = {
            "kind": KIND,
            "schema": SCHEMA,
            "source": vars(self.source),
            "config": asdict(self.config),
        }
        # The target is opened first, so that a place that cannot be written is refused before the long
        # computation.
        with self._writing(target, manifest, replace_other) as folder:
            local, candidates = self.embedded(images)
            filtered = filter_candidates(
                candidates, Rule(self.config.min_count, self.config.keep, self.config.keep_share)
            )
            if folder is not None:
                codebooks = {"local": local, "global": filtered}
                if keep_candidates:
                    codebooks["candidates"] = candidates
                for name, codebook in codebooks.items():
                    codebook.save(folder / name)
                write_manifest(folder, manifest)
        self.world.wait()
        return local, filtered

    def embedded(self, images: Sequence[ImageFile]) -> tuple[Codebook, Codebook]:
        """The local codebook, and all candidates of the global codebook with their votes.

        Raises:
            V2LError: no image is readable, or the lexicon or its language is bad.
        """
        _ = self.lexicon, self.frequencies  # refused, if they are bad, before images are encoded
        image_shards = replace(self._shards("encoding images", 256), folder=self.image_work or self.work)
        vectors = encode_files(self.encoder, images, image_shards, self.engine)
        unreadable = unreadable_files(images, vectors)
        vocabulary = read_vocabulary(self.llm, self.encoder.tokenize_texts)
        grams, dropped = self.candidates(vocabulary)
        # Most local words are candidates, too, and equal words are embedded once: so both lists are embedded
        # together.
        texts = [gram.defined if self.config.definitions == "with" else gram.word for gram in grams]
        embeddings = self._embed([*vocabulary.surfaces, *texts])  # (V_l + V_g, D)
        local = self._local(vocabulary, embeddings[: len(vocabulary)])
        of_grams = embeddings[len(vocabulary) :]
        if self.config.definitions == "mean":
            of_grams = self._mean(of_grams, self._embed([gram.defined for gram in grams]))
        if self.dropped_table is not None and self.world.leads:
            export_dropped(dropped, self.dropped_table)
        lost = Counter(vocabulary.dropped)
        lost.update(each.reason for each in dropped)
        candidates = self._global(grams, of_grams, dict(lost))
        counts = count_votes(vectors, candidates.embeddings.float(), self.world, self.config.votes).tolist()
        counted = [
            replace(entry, count=count) for entry, count in zip(candidates.entries, counts, strict=True)
        ]
        metadata = {
            "images": len(images) - len(unreadable),
            "votes": self.config.votes,
            "unreadable_images": [file.name for file in unreadable],
        }
        return local, replace(candidates, entries=tuple(counted), metadata=candidates.metadata | metadata)

    @property
    def templates(self) -> tuple[str, ...]:
        """The prompt templates, as "a photo of a {}": the configured ones, otherwise the encoder's own."""
        return self.config.templates or self.encoder.templates

    def candidates(self, vocabulary: Vocabulary) -> tuple[list[Gram], list[Dropped]]:
        """The candidates of the global codebook, and the words that were left out, with the reasons.

        Words of the lexicon stand before the LLM's n-grams. Of equal readings by the encoder the first is
        kept.

        Raises:
            V2LError: the LLM spells no word of the lexicon, or a source cannot be read.
        """
        config = self.config
        grams, dropped = self.lexicon
        if "llm" in config.candidates:
            found, without = self.ngrams(vocabulary)
            grams, dropped = grams + found, dropped + without
        grams, rare = frequent_enough(grams, self.frequencies, config.min_zipf)
        grams, equal = distinct_readings(grams, self.encoder.tokenize_texts, config.definitions != "none")
        return grams, dropped + rare + equal

    @cached_property
    def lexicon(self) -> tuple[list[Gram], list[Dropped]]:
        """The lexicon's n-grams and the words that are none; both empty when no lexicon is configured.

        Raises:
            V2LError: the LLM spells no word of the lexicon, or a source cannot be read.
        """
        config = self.config
        if "lexicon" not in config.candidates:
            return [], []
        entries = read_lexicon(config.lexicon, config.language, config.frequent_words)
        return spelled(entries, self.llm, config.max_order)

    @cached_property
    def frequencies(self) -> Frequencies:
        """How often words occur in the configured language.

        Raises:
            V2LError: wordfreq has no such language.
        """
        return Frequencies(self.config.language)

    def ngrams(self, vocabulary: Vocabulary) -> tuple[list[Gram], list[Dropped]]:
        """The n-grams that the LLM continues, and those that were removed.

        The n-grams are subwords, then bigrams, then trigrams.

        The expansion is greedy: each n-gram is lengthened by the LLM's most probable next tokens, without
        beam search.

        With `words_only`, three kinds of n-grams are removed, because they have no meaning alone. In the
        joint space their embeddings are near to every image, so they would be among the words of every image:
        - a fragment occurs only inside words ("issance");
        - an unfinished word is only the beginning of a word ("promulg");
        - an n-gram that ends in a function word ("clothing that") says no more than without it.
        """
        words_only = self.config.words_only
        fragments = vocabulary.fragments if words_only else frozenset()
        subwords = zip(vocabulary.ids, vocabulary.surfaces, strict=True)
        grams = [Gram((token_id,), surface) for token_id, surface in subwords if token_id not in fragments]
        dropped = [Dropped(self.llm.surface(token_id), "fragment") for token_id in sorted(fragments)]
        longest, unfinished = grams, []
        for order in range(2, self.config.max_order + 1):
            continuations = self._continuations(longest, f"expanding to {order}-grams")
            unfinished += self._unfinished(longest, continuations) if words_only else []
            # Only the longest n-grams are expanded further: bigrams from subwords, trigrams from bigrams.
            longest, without = expand(longest, self.llm, continuations, words_only)
            reason = f"no {order}-gram (the continuation is no word)"
            dropped += [Dropped(word, reason) for word in without]
            grams = grams + longest
        left_out = {
            "unfinished word": set(unfinished),
            "n-gram that dangles": set(filter(ends_in_function_word, grams)) if words_only else set(),
        }
        for reason, removed in left_out.items():
            dropped += [Dropped(gram.word, reason) for gram in grams if gram in removed]
            grams = [gram for gram in grams if gram not in removed]
        return grams, dropped

    def _unfinished(self, grams: Sequence[Gram], continuations: Sequence[Sequence[int]]) -> list[Gram]:
        """The n-grams whose last word is only the beginning of a word.

        For example "promulg", but not "sun" before "flower".

        Two signs together: the LLM's most probable next token begins with a letter, so it continues the same
        word; and the encoder's tokenizer has no single token for the last word.
        """
        continued = [
            gram
            for gram, ids in zip(grams, continuations, strict=True)
            if ids and self.llm.surface(ids[0])[:1].isalpha()
        ]
        last_words = [gram.surface.split()[-1] for gram in continued]
        # The length of "a" is that of one token plus the encoder's start and end tokens, if it adds them.
        single, *readings = self.encoder.tokenize_texts(["a", *last_words])
        return [gram for gram, reading in zip(continued, readings, strict=True) if len(reading) > len(single)]

    def _local(self, vocabulary: Vocabulary, embeddings: torch.Tensor) -> Codebook:
        entries = tuple(
            Entry(surface.strip(), (token_id,), aliases=aliases)
            for token_id, surface, aliases in zip(
                vocabulary.ids, vocabulary.surfaces, vocabulary.aliases, strict=True
            )
        )
        metadata = {
            "vocabulary": self.llm.vocabulary_size,
            "dropped": vocabulary.dropped,
            "templates": list(self.templates),
        }
        return Codebook(entries, embeddings.half(), self.source, metadata)

    def _global(self, grams: list[Gram], embeddings: torch.Tensor, lost: dict[str, int]) -> Codebook:
        entries = tuple(Entry(gram.word, gram.ids, gram.order, definition=gram.definition) for gram in grams)
        metadata = {
            "dropped": lost,
            "templates": list(self.templates),
            "definitions": self.config.definitions,
        }
        return Codebook(entries, embeddings.half(), self.source, metadata)

    def _embed(self, surfaces: Sequence[str]) -> torch.Tensor:
        """(V, D) float16, memory-mapped."""
        embedder = WordEmbedder(self.encoder, self.templates, self.config.renormalize)
        return embed_words(
            embedder,
            [surface.strip() for surface in surfaces],
            self._shards("embedding words", 512),
            torch.float16,
        )

    def _mean(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The means of two (V, D) embeddings row by row, (V, D) float16, of unit length if configured."""
        mean = (one.float() + other.float()) / 2
        return (functional.normalize(mean, dim=-1) if self.config.renormalize else mean).half()

    def _continuations(self, grams: list[Gram], step: str) -> list[tuple[int, ...]]:
        """The LLM's most probable next token ids of each n-gram, each id once.

        They are collected after each of the configured openings ("a photo of {}").
        """
        count, found = self.config.continuations, []
        for opening in self.config.openings:
            prompts = [opening_prompt(gram, opening) for gram in grams]
            metadata = [self.llm.fingerprint, self.llm.weights_fingerprint, str(count)]
            parts = self._shards(step, 1024).run(
                prompts, metadata, lambda part: torch.tensor(self.llm.next_tokens(part, count))
            )  # of (n, count)
            found.append([tuple(ids) for part in parts for ids in part.tolist()])
        # found[o][g] are the ids after opening o with n-gram g; zip turns that around, dict.fromkeys removes
        # doubles in order.
        return [tuple(dict.fromkeys(chain(*ids))) for ids in zip(*found, strict=True)]

    def _shards(self, step: str, size: int = 4096) -> Shards:
        return Shards(self.work, step, self.progress, size, self.world)

    @contextmanager
    def _writing(
        self, target: str | Path, manifest: dict[str, Any], replace_other: bool
    ) -> Iterator[Path | None]:
        """The directory to fill; None in all processes but the first, because only that one writes."""
        if not self.world.leads:
            yield None
            return
        lock = locked_settings(target, self.work, manifest, replace_other)
        with lock, write_directory(target) as folder:
            yield folder

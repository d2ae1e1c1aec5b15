"""images ──► words ──► dialogue ──► frozen LLM ──► captions, and answers to questions.

The LLM never receives a pixel, so its answers depend on the words alone. Source: V2L Tokenizer, arXiv
2403.07874, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from v2l.errors import V2LError
from v2l.images import Skipped, load_image, load_images
from v2l.llm import GenerationConfig
from v2l.llm.base import LanguageModel
from v2l.llm.endpoint import Endpoint
from v2l.pipeline.image_words import BATCH, ImageWords, WordSelection, words_of_images
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts import caption, soft, vqa
from v2l.prompts.choices import kind_asked_for
from v2l.prompts.dialogue import Dialogue, Exchange, Style, find_style
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.regions import expand_regions, named_regions
from v2l.prompts.shots import SHIPPED, Shot, load_shots
from v2l.sources import ImageFile
from v2l.tasks.description.choices import score_kinds
from v2l.tasks.description.dialogue_generation import describe_llm, sample_answers
from v2l.tokenizers.needs import gives

TASKS = {"caption": caption, "vqa": vqa}
SOFT = {"caption": soft.CAPTION, "vqa": soft.ANSWER}  # the prompts that adapters are trained with


@dataclass(frozen=True)
class DescribeSettings:
    """How captions and answers are generated; None is the default of the wording.

    Attributes:
        prompt: wording, tuned or paper.
        n_words: global words of an image.
        n_examples: answered examples in the prompt, the first of the file.
        examples: JSON with the user's own; None is the file that ships.
        candidates: answers to each image; the joint encoder chooses the nearest of several.
        temperature: of all candidates but the first, which is generated greedily.
        seed: seed of the sampled candidates.
    """

    prompt: str = "tuned"
    n_words: int | None = None
    n_examples: int | None = None
    examples: Path | None = None
    candidates: int = 1
    temperature: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"n_words": 1, "n_examples": 0, "candidates": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise V2LError(f"got {value} {name.removeprefix('n_')}", f"{smallest} and more")
        if self.temperature <= 0:
            raise V2LError(f"got the temperature {self.temperature}", "more than 0", "--temperature 0.7")


@dataclass(frozen=True)
class Candidate:
    """One answer with its cosine to the image by the joint encoder, in [-1, 1]."""

    text: str
    score: float


@dataclass(frozen=True)
class Description:
    """The caption or answer for one image.

    Attributes:
        text: the caption or the answer, without a full stop.
        words: the words of the image that the prompt holds.
        candidates: every answer, the nearest to the image first; empty when there was one only.
        note: why there is too little to see in the image for its words to mean something; None when there is
            enough.
        score: of a yes or no that was scored and not generated: yes if above 0, see `choices.score_kinds`;
            None for generated text.
    """

    text: str
    words: tuple[str, ...]
    candidates: tuple[Candidate, ...] = ()
    note: str | None = None
    score: float | None = None


class Describer:
    """One task for any number of images; the examples' words are read once.

    Args:
        pipeline: tokenizer and LLM.
        task: caption or vqa.
        settings: how captions and answers are generated.
        endpoint: a server whose LLM answers instead of the pipeline's.

    Raises:
        V2LError: the wording is unknown.
    """

    def __init__(
        self, pipeline: Pipeline, task: str, settings: DescribeSettings, endpoint: Endpoint | None = None
    ) -> None:
        self.pipeline, self.task, self.settings, self.endpoint = pipeline, task, settings, endpoint
        self.is_soft = gives(pipeline.tokenizer, "embeddings")
        self.style: Style = SOFT[task] if self.is_soft else find_style(TASKS[task].STYLES, settings.prompt)
        self.n_words = settings.n_words or self.style.n_words
        self.words = WordSelection(self.n_words, self.style.choice)

    @cached_property
    def llm(self) -> LanguageModel:
        """The LLM that answers: the server's, or the pipeline's."""
        return self.endpoint or self.pipeline.llm

    @cached_property
    def examples(self) -> tuple[Exchange, ...]:
        """The answered examples of the prompt.

        Raises:
            V2LError: their file is malformed, holds fewer than the settings ask for, or names an image that
                cannot be read.
        """
        return tuple(Exchange(image.evidence, shot.question, shot.answer) for shot, image in self._shots)

    @cached_property
    def region_examples(self) -> tuple[Exchange, ...]:
        """The answered examples for a question about regions: those that ship, or the user's own."""
        if self.settings.examples is not None:
            return self.examples
        shots = load_shots("vqa", self.style.choice, SHIPPED / "regions.json")[: self.settings.n_examples]
        return tuple(
            Exchange(shot.words, expand_regions(shot.question, shot.words), shot.answer) for shot in shots
        )

    @cached_property
    def _shots(self) -> tuple[tuple[Shot, ImageWords], ...]:
        """The examples of the prompt, each with the words of its image."""
        requested = self.settings.n_examples
        shots = load_shots(self.task, self.style.choice, self.settings.examples)
        if requested is not None and requested > len(shots):
            source = self.settings.examples or SHIPPED / f"{self.task}.json"
            raise V2LError(
                f"asked for {requested} examples, and {source} holds {len(shots)}",
                f"0 to {len(shots)}",
                f"--shots {len(shots)}",
            )
        chosen = shots[: self.style.n_examples if requested is None else requested]
        return tuple((shot, self._words_of(shot)) for shot in chosen)

    def read(self, files: Sequence[ImageFile], skipped: Skipped) -> Iterator[tuple[ImageFile, ImageWords]]:
        """Every readable file with its words and its vector, in batches; the others go into `skipped`."""
        opened = load_images(files, skipped)
        while batch := list(islice(opened, BATCH)):
            yield from zip(
                [file for file, _ in batch], self.words_of([image for _, image in batch]), strict=True
            )

    def over(
        self, files: Sequence[ImageFile], skipped: Skipped, question: str = ""
    ) -> Iterator[tuple[ImageFile, Description]]:
        """Every readable file with its caption or answer, in batches; the others go into `skipped`.

        Raises:
            V2LError: as for `describe`.
        """
        self.dialogue((), question)  # fails on a bad question or example before any image is read
        read = self.read(files, skipped)
        while batch := list(islice(read, BATCH)):
            descriptions = self.describe([words for _, words in batch], [question] * len(batch))
            yield from zip([file for file, _ in batch], descriptions, strict=True)

    def words_of(self, images: Sequence[Tensor]) -> list[ImageWords]:
        """Images (3, H, W) in [0, 1] of any sizes ──► their words, and vectors if the tokenizer has them.

        Raises:
            V2LError: the tokenizer gives no words, or its codebook has fewer than asked for.
        """
        return words_of_images(self.pipeline.tokenizer, images, self.words)

    def dialogue(self, words: Sequence[str] | Embeddings, question: str = "") -> Dialogue:
        """The dialogue about one image, by its words or its soft tokens.

        An example with the words of this very image is left out, because it would give the answer away.

        Raises:
            V2LError: the task needs a question and it is empty, the question names a region that the image
                does not have, or as for `examples`.
        """
        if self.task == "vqa":
            if isinstance(words, Embeddings):
                asked = expand_regions(question, ())
            else:
                asked = expand_regions(question, words) if words else question
            examples = self.region_examples if named_regions(question) else self.examples
            return vqa.vqa_dialogue(self.of_others(examples, words), words, asked, self.style)
        return caption.caption_dialogue(self.of_others(self.examples, words), words, self.style)

    def of_others(
        self, examples: Sequence[Exchange], words: Sequence[str] | Embeddings
    ) -> tuple[Exchange, ...]:
        """The examples of other images than the one with these words."""
        if isinstance(words, Embeddings):
            return tuple(examples)
        own = tuple(words[: self.n_words])
        return tuple(
            example
            for example in examples
            if isinstance(example.words, Embeddings) or example.words[: len(own)] != own or not own
        )

    def describe(
        self, images: Sequence[ImageWords], questions: Sequence[str] | None = None
    ) -> list[Description]:
        """The caption of each image, or the answer to its question.

        With the tuned wording and a local LLM, a question like "Is it an animal?" is answered by
        log-probabilities (`choices.score_kinds`), because a small LLM generates the same answer whatever the
        words are.

        Args:
            images: words and vectors.
            questions: one an image, for vqa.

        Raises:
            V2LError: a prompt is longer than the LLM's context, the server does not answer, or as for
                `dialogue`.
        """
        asked = list(questions or [""] * len(images))
        kinds = [self.scored_kind(question) for question in asked]
        scored = iter(
            self._of_kind([(image, kind) for image, kind in zip(images, kinds, strict=True) if kind])
        )
        rest = [
            (image, self.dialogue(image.evidence, question))
            for image, question, kind in zip(images, asked, kinds, strict=True)
            if kind is None
        ]
        written = iter(self._written(rest))
        return [next(written) if kind is None else next(scored) for kind in kinds]

    def _written(self, requests: Sequence[tuple[ImageWords, Dialogue]]) -> list[Description]:
        """Images and dialogues ──► the texts that the LLM generates."""
        if self.settings.candidates > 1:
            return [self._best(image, dialogue) for image, dialogue in requests]
        answers = (
            self.llm.write_answers([dialogue for _, dialogue in requests], self.config) if requests else []
        )
        return [
            Description(answer, image.words, note=image.note)
            for answer, (image, _) in zip(answers, requests, strict=True)
        ]

    def scored_kind(self, question: str) -> str | None:
        """The kind that a question asks for, if log-probabilities answer it; otherwise None."""
        if self.task != "vqa" or self.is_soft or self.endpoint or self.settings.prompt != "tuned":
            return None
        return kind_asked_for(question)

    def _of_kind(self, pairs: Sequence[tuple[ImageWords, str]]) -> list[Description]:
        """Images and kinds ──► yes or no."""
        if not pairs:  # then the pipeline's LLM is not needed, and need not be there
            return []
        words = [image.words for image, _ in pairs]
        scores = score_kinds(self.pipeline.llm, words, [kind for _, kind in pairs])
        return [
            Description("yes" if score > 0 else "no", image.words, note=image.note, score=score)
            for score, (image, _) in zip(scores, pairs, strict=True)
        ]

    @property
    def config(self) -> GenerationConfig:
        """How the first answer is chosen: greedily, up to where the paper stops."""
        task = TASKS[self.task]
        return GenerationConfig(
            task.MAX_NEW_TOKENS,
            seed=self.settings.seed,
            stop=task.STOP,
            batch_size=BATCH,
            no_repeat=soft.NO_REPEAT if self.is_soft else 0,
        )

    @property
    def ranked_by(self) -> str | None:
        """The score that selected among several candidates; None with one candidate."""
        if self.settings.candidates == 1:
            return None
        return f"{self.pipeline.joint_encoder.name}: cosine of image and text"

    def report(self) -> dict[str, Any]:
        """The part that all records of this task share: complete settings, and the pipeline."""
        settings = {
            **vars(self.settings),
            "n_words": self.n_words,
            "n_examples": len(self.examples),
            "examples": str(self.settings.examples or "shipped"),
        }
        return {
            "ranked_by": self.ranked_by,
            "settings": settings,
            "stack": describe_llm(self.pipeline, self.endpoint),
        }

    def remark(self) -> str | None:
        """A warning about the examples for the user, in lines; None without one.

        Raises:
            V2LError: as for `examples`.
        """
        if self.settings.examples is None and self.pipeline.checkpoint != "shipped" and self.examples:
            return (
                "the examples that ship hold words of the checkpoint that ships; "
                "give --examples with images of your own for this one"
            )
        notes = [f"{shot.image}: {image.note}" for shot, image in self._shots if image.note is not None]
        return "\n".join(notes) or None

    def _best(self, image: ImageWords, dialogue: Dialogue) -> Description:
        answers = sample_answers(
            self.llm, dialogue, self.config, self.settings.candidates, self.settings.temperature
        )
        question = dialogue.query.question
        texts = [f"{question} {answer}".strip() for answer in answers]
        scores = (self.pipeline.joint_encoder.encode_texts(texts).cpu() @ image.vector).tolist()
        candidates = [Candidate(answer, score) for answer, score in zip(answers, scores, strict=True)]
        ranked = sorted(candidates, key=lambda candidate: -candidate.score)
        return Description(ranked[0].text, image.words, tuple(ranked), image.note)

    def _words_of(self, shot: Shot) -> ImageWords:
        """An example's words: its own, or those of its image."""
        if shot.words or shot.image is None:
            return ImageWords(shot.words[: self.n_words])
        try:
            image = load_image(shot.image)
        except V2LError as error:
            raise V2LError(f"{shot.where}: {error.got}", error.allowed, error.run) from error
        return self.words_of([image])[0]

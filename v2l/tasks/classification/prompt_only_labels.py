"""labelled images and a query ──► a prompt for any LLM; the answer that it generates ──► a label.

This is for LLMs whose log-probabilities are not available, as behind a server: the answer is exactly a label
or none. Source: V2L Tokenizer, arXiv 2403.07874, section 4.1 (the prompt).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from random import Random

from v2l.datasets import ClassFolder, LabelledImage
from v2l.errors import V2LError
from v2l.images import Skipped, load_images
from v2l.llm import GenerationConfig
from v2l.llm.endpoint import Endpoint
from v2l.pipeline.image_words import WordSelection, read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.dialogue import turn
from v2l.prompts.fewshot import FewShotFormat, fewshot_prompt
from v2l.prompts.prompt import Prompt
from v2l.tasks.classification.fewshot import find_method

RULE = "exact match after stripping spaces, quotes and full stops"
AROUND = " \n\t\r'\"."
CONFIG = GenerationConfig(max_new_tokens=16, stop=("\n",))
# wording of the prompt ──► the few-shot protocol whose words and format it takes
PROTOCOLS = {"tuned": "default", "paper": "paper", "official": "official"}


@dataclass(frozen=True)
class LabelPromptSettings:
    """How the prompt is written.

    Attributes:
        k_shots: labelled images of a class.
        words: which words an image gets.
        format: how they are written; the prompt lists the labels first, because the LLM may generate any
            text.
        seed: seed of the labelled images and of their order.
    """

    k_shots: int = 1
    words: WordSelection = field(default_factory=WordSelection)
    format: FewShotFormat = field(default_factory=lambda: FewShotFormat("tuned"))
    seed: int = 0

    @classmethod
    def of(
        cls, wording: str, k_shots: int = 1, n_words: int | None = None, seed: int = 0
    ) -> LabelPromptSettings:
        """The settings of a wording.

        Raises:
            V2LError: the wording is unknown, or the number of words is below 1.
        """
        if wording not in PROTOCOLS:
            raise V2LError(f"got the prompt wording {wording!r}", ", ".join(PROTOCOLS), "--prompt tuned")
        method = find_method(PROTOCOLS[wording])
        words = method.words if n_words is None else replace(method.words, count=n_words)
        return cls(k_shots, words, replace(method.format, induction=True), seed)


@dataclass(frozen=True)
class LabelPrompt:
    """One image to classify, as a prompt.

    Attributes:
        prompt: the prompt for any LLM.
        labels: the labels that it may answer.
        words: the words of the image.
        format: how labels are written.
        notes: for each image with too little to see for its words to mean something: why.
    """

    prompt: Prompt
    labels: tuple[str, ...]
    words: tuple[str, ...]
    format: FewShotFormat
    notes: Mapping[Path, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The prompt as text, to be pasted."""
        return self.prompt.text(str)  # no piece of it holds ids

    def generate(self, endpoint: Endpoint) -> str:
        """The answer of a server's LLM.

        Raises:
            V2LError: the server does not answer.
        """
        return endpoint.reply([turn("user", self.text)], CONFIG)

    def parse(self, answer: str) -> str | None:
        """The label that an answer matches by `RULE`; None when it matches none."""
        names = {self.format.name(label): label for label in self.labels}
        text = answer.strip()
        return names.get(text) or names.get(text.strip(AROUND))


def build_label_prompt(
    pipeline: Pipeline, image: Path, support: Sequence[LabelledImage], settings: LabelPromptSettings
) -> LabelPrompt:
    """The prompt whose answer is the label of an image.

    Args:
        pipeline: the tokenizer; its LLM is not needed.
        image: the image to classify.
        support: labelled images, in the order of the prompt.
        settings: how the prompt is written.

    Raises:
        V2LError: an image cannot be read, or two labels have the same name.
    """
    labels = tuple(sorted({shot.label or "" for shot in support}))
    check_labels(labels, settings.format)
    found = read_image_words(pipeline.tokenizer, [image, *(shot.path for shot in support)], settings.words)
    examples = [(found[shot.path].words, shot.label or "") for shot in support]
    words = found[image].words
    notes = {path: shown.note for path, shown in found.items() if shown.note is not None}
    prompt = fewshot_prompt(examples, words, settings.format)
    return LabelPrompt(prompt, labels, words, settings.format, notes)


def draw_support(
    folder: str | Path, query: Path, settings: LabelPromptSettings, skipped: Skipped
) -> list[LabelledImage]:
    """K readable images of each class, in random order; the query is never one of them.

    Args:
        folder: one folder of images for each class.
        query: the image to classify.
        settings: number of images and seed.
        skipped: collects the files that cannot be read.

    Raises:
        V2LError: fewer than two classes, or a class with too few images.
    """
    classes = ClassFolder.load(folder).classes
    if len(classes) < 2:
        raise V2LError(f"{folder} has {len(classes)} class", "at least 2, each a folder of images")
    random = Random(settings.seed)
    shots: list[LabelledImage] = []
    for name, paths in classes.items():
        others = (path for path in random.sample(paths, len(paths)) if path.resolve() != query.resolve())
        found = list(islice(readable(others, skipped), settings.k_shots))
        if len(found) < settings.k_shots:
            got = f"class {name!r} of {folder} has {len(found)} readable image(s) beside the query"
            raise V2LError(got, f"at least {settings.k_shots}", f"--k-shots {max(1, len(found))}")
        shots += (LabelledImage(path, name) for path in found)
    random.shuffle(shots)
    return shots


def readable(paths: Iterable[Path], skipped: Skipped) -> Iterator[Path]:
    """The files that hold a readable image; the others are added to `skipped`."""
    return (path for path in paths if any(True for _ in load_images([path], skipped)))


def check_labels(labels: Iterable[str], format: FewShotFormat) -> None:
    """Refuse labels that have the same name in the prompt.

    Raises:
        V2LError: it names two of them.
    """
    labels_by_name: dict[str, str] = {}
    for label in labels:
        other = labels_by_name.setdefault(format.name(label), label)
        if other != label:
            raise V2LError(
                f"the labels {other!r} and {label!r} read the same: {format.name(label)!r}",
                "names that differ",
            )

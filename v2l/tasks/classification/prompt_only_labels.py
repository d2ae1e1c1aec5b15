"""labelled images and a query ──► a prompt for any LLM, and its written answer ──► a label.

For LLMs whose log-probabilities are not to be had, as behind an endpoint: what is written is a label or it is none.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.1 (the prompt).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from v2l.tasks.classification.fewshot import method_of

RULE = "exact match after stripping spaces, quotes and full stops"
CONFIG = GenerationConfig(max_new_tokens=16, stop=("\n",))
PROTOCOLS = {
    "tuned": "default",
    "paper": "paper",
    "official": "official",
}  # wording ──► whose words and format it takes


@dataclass(frozen=True)
class LabellingSettings:
    """How the prompt is written.

    Attributes:
        k_shots: labelled images of a class.
        words: which words an image gets.
        format: how they are written; the labels are named first, since the LLM may write anything.
        seed: of the labelled images and their order.
    """

    k_shots: int = 1
    words: WordSelection = field(default_factory=WordSelection)
    format: FewShotFormat = field(default_factory=lambda: FewShotFormat("tuned"))
    seed: int = 0

    @classmethod
    def of(
        cls, wording: str, k_shots: int = 1, n_words: int | None = None, seed: int = 0
    ) -> LabellingSettings:
        """The settings of a wording.

        Raises:
            V2LError: it is unknown, or there is to be no word.
        """
        if wording not in PROTOCOLS:
            raise V2LError(f"got the prompt wording {wording!r}", ", ".join(PROTOCOLS), "--prompt tuned")
        method = method_of(PROTOCOLS[wording])
        words = method.words if n_words is None else replace(method.words, count=n_words)
        return cls(k_shots, words, replace(method.format, induction=True), seed)


@dataclass(frozen=True)
class Labelling:
    """One image to be named.

    Attributes:
        prompt: what any LLM is asked.
        labels: what it may answer.
        words: of the image.
        format: how labels are written.
    """

    prompt: Prompt
    labels: tuple[str, ...]
    words: tuple[str, ...]
    format: FewShotFormat

    @property
    def text(self) -> str:
        """The prompt as people paste it."""
        return self.prompt.text(str)  # no piece of it is of ids

    def answer(self, endpoint: Endpoint) -> str:
        """What a server's LLM writes.

        Raises:
            V2LError: the server does not answer.
        """
        return endpoint.answer([turn("user", self.text)], CONFIG)

    def label(self, answer: str) -> str | None:
        """The label that an answer is, by `RULE`; None when it is none."""
        names = {self.format.name(label): label for label in self.labels}
        return names.get(answer.strip().strip("'\"").rstrip(".").strip())


def labelling(
    pipeline: Pipeline, image: Path, support: Sequence[LabelledImage], settings: LabellingSettings
) -> Labelling:
    """The prompt that asks for the label of an image.

    Args:
        pipeline: the tokenizer; its LLM is not needed.
        image: the image to be named.
        support: labelled images, in the order of the prompt.
        settings: how it is written.

    Raises:
        V2LError: an image cannot be read, or two labels read the same.
    """
    labels = tuple(sorted({shot.label for shot in support}))
    check_labels(labels, settings.format)
    read = read_image_words(pipeline.tokenizer, [image, *(shot.path for shot in support)], settings.words)
    shown = [(read[shot.path].words, shot.label) for shot in support]
    words = read[image].words
    return Labelling(fewshot_prompt(shown, words, settings.format), labels, words, settings.format)


def draw_support(
    folder: str | Path, query: Path, settings: LabellingSettings, skipped: Skipped
) -> list[LabelledImage]:
    """K readable images of each class, in mixed order, none of them the query.

    Args:
        folder: one folder of images for each class.
        query: the image to be named.
        settings: how many, and the seed.
        skipped: takes the files that cannot be read.

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
        found = [path for path, _ in islice(load_images(others, skipped), settings.k_shots)]
        if len(found) < settings.k_shots:
            got = f"class {name!r} of {folder} has {len(found)} readable image(s) beside the query"
            raise V2LError(got, f"at least {settings.k_shots}", f"--k-shots {max(1, len(found))}")
        shots += (LabelledImage(path, name) for path in found)
    random.shuffle(shots)
    return shots


def check_labels(labels: Iterable[str], format: FewShotFormat) -> None:
    """Refuse labels that read the same.

    Raises:
        V2LError: naming two of them.
    """
    seen: dict[str, str] = {}
    for label in labels:
        if (other := seen.setdefault(format.name(label), label)) != label:
            raise V2LError(
                f"the labels {other!r} and {label!r} read the same: {format.name(label)!r}",
                "names that differ",
            )

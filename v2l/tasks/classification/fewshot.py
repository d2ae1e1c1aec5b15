"""episodes ──► labels, told by the frozen LLM from words alone.

Every image becomes its global words; the LLM never sees a pixel or a vector. Source: V2L Tokenizer, arXiv 2403.07874, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, get_args

from v2l.datasets import (
    ClassFolder,
    Episode,
    draw_episodes,
    has_support_and_query,
    load_episodes,
    read_support_and_query,
)
from v2l.errors import V2LError
from v2l.images import Skipped
from v2l.llm import FrozenLLM
from v2l.metrics import Proportion
from v2l.pipeline.image_words import Progress, WordSelection, read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.fewshot import FewShotFormat
from v2l.sources import Part
from v2l.tasks.classification.baselines import Images, Names, baseline_answers
from v2l.tasks.classification.label_generation import WRITINGS
from v2l.tasks.classification.label_scoring import RULES, LabelQuery

PARTS = get_args(Part)


@dataclass(frozen=True)
class Method:
    """How the LLM is asked.

    Attributes:
        protocol: the name of the preset that this method began as.
        rule: what decides; log-probabilities (`judging.RULES`) or what the LLM writes (`naming.WRITINGS`).
        words: which words an image gets.
        format: how an episode is written.
        orders: orders of the support over which log-probabilities of labels are averaged.
        per_token: whether a label's log-probability is divided by its tokens.
        prefix: whether an answer that goes on behind the right name is right, as in the official code.
        batch_size: how many prompts the LLM reads at once; bounds the memory.
    """

    protocol: str = "default"
    rule: str = "both"
    words: WordSelection = field(default_factory=WordSelection)
    format: FewShotFormat = field(
        default_factory=lambda: FewShotFormat("tuned", induction=False, nearest_last=True)
    )
    orders: int = 1
    per_token: bool = False
    prefix: bool = False
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.rule not in (*RULES, *WRITINGS):
            raise V2LError(f"got the rule {self.rule!r}", ", ".join((*RULES, *WRITINGS)), "--rule both")
        if self.orders < 1 or self.batch_size < 1:
            raise V2LError(
                f"got {self.orders} orders and a batch size of {self.batch_size}", "1 and more of each"
            )

    def is_right(self, text: str, truth: str) -> bool:
        """Whether an answer names the true class."""
        name = self.format.name(truth)
        return text.startswith(name) if self.prefix else text == name


PROTOCOLS = {
    "default": Method(),
    "paper": Method("paper", "generate", WordSelection(5, "nearest"), FewShotFormat("paper")),
    "official": Method(
        "official", "masked", WordSelection(5, "nearest"), FewShotFormat("official"), prefix=True
    ),
}


def method_of(protocol: str) -> Method:
    """A protocol's method.

    Raises:
        V2LError: there is no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise V2LError(f"got the protocol {protocol!r}", ", ".join(PROTOCOLS), "--protocol default")
    return PROTOCOLS[protocol]


@dataclass(frozen=True)
class FewShotSettings:
    """What is asked, and how.

    Attributes:
        n_ways: classes of an episode.
        k_shots: labelled images of a class.
        episodes: how many are drawn.
        seed: of the episodes.
        part: of the folder's images: train, eval (80/20 by file name) or all.
        method: how the LLM is asked.
    """

    n_ways: int = 2
    k_shots: int = 1
    episodes: int = 100
    seed: int = 0
    part: Part = "all"
    method: Method = field(default_factory=Method)

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise V2LError(f"got the part {self.part!r}", ", ".join(PARTS), "--part eval")

    def fitting(self, episodes: Sequence[Episode]) -> Self:
        """The same with the numbers of the episodes that are asked, which a file or the user's own support may have decided."""
        if not episodes:
            return self
        first = episodes[0]
        return replace(
            self,
            n_ways=len(first.labels),
            k_shots=len(first.support) // len(first.labels),
            episodes=len(episodes),
        )


@dataclass(frozen=True)
class Prediction:
    """One answer.

    Attributes:
        query: the image.
        label: the label chosen; None when the LLM wrote what is no label.
        truth: its class; None when nobody said.
        right: whether the answer counts as right; None when nobody said.
        text: what the LLM wrote, or the name of the label chosen.
        scores: per label, the log-probability that decided, natural logarithm; empty when the LLM wrote its answer.
        words: the query's words.
        baselines: per baseline, the label that it chose without an LLM.
    """

    query: str
    label: str | None
    truth: str | None
    right: bool | None
    text: str
    scores: dict[str, float]
    words: tuple[str, ...]
    baselines: dict[str, str]

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """A prediction as `asdict` and JSON hold it."""
        return cls(**{**record, "words": tuple(record["words"])})


@dataclass(frozen=True)
class FewShotResult:
    """Answers and their summary.

    Attributes:
        predictions: one per episode.
        settings: what was asked.
        pipeline: names and fingerprints.
        skipped: files that could not be read, with their reasons.
    """

    predictions: tuple[Prediction, ...]
    settings: FewShotSettings
    pipeline: dict[str, Any]
    skipped: Skipped = field(default_factory=Skipped)

    @property
    def accuracy(self) -> Proportion | None:
        """The share of right answers among queries whose class is known; None when none is."""
        return share(prediction.right for prediction in self.predictions)

    @property
    def baselines(self) -> dict[str, Proportion | None]:
        """The same for every baseline."""
        names = self.predictions[0].baselines if self.predictions else ()
        return {
            name: share(baseline_right(prediction, name) for prediction in self.predictions) for name in names
        }

    def to_dict(self) -> dict[str, Any]:
        """The report: figures, baselines, settings, pipeline."""
        accuracy = self.accuracy
        return {
            "accuracy": accuracy.to_dict() if accuracy else None,
            "n": accuracy.n if accuracy else 0,
            "seed": self.settings.seed,
            "protocol": self.settings.method.protocol,
            "baselines": {
                "chance": {"value": 1 / self.settings.n_ways},
                **{name: found.to_dict() if found else None for name, found in self.baselines.items()},
            },
            "settings": asdict(self.settings),
            "skipped": [{"image": str(path), "reason": reason} for path, reason in self.skipped.files],
            "stack": self.pipeline,
        }


def share(right: Iterable[bool | None]) -> Proportion | None:
    """How many of the known are right; None when none is known."""
    known = [answer for answer in right if answer is not None]
    return Proportion(sum(known), len(known)) if known else None


def baseline_right(prediction: Prediction, name: str) -> bool | None:
    """Whether a baseline was right; None when nobody said."""
    return None if prediction.truth is None else prediction.baselines[name] == prediction.truth


def find_episodes(
    folder: str | Path,
    settings: FewShotSettings,
    skipped: Skipped | None = None,
    saved: str | Path | None = None,
) -> list[Episode]:
    """The episodes of a folder: saved ones, the user's own (support/ and query/), or drawn from class folders.

    Args:
        folder: where the images are.
        settings: what is drawn.
        skipped: takes the files that cannot be read.
        saved: a file that `save_episodes` wrote.

    Raises:
        V2LError: the folder holds neither, too few classes or images, or the file holds no episodes.
    """
    if saved is not None:
        return checked(load_episodes(saved, Path(folder)), saved)
    if has_support_and_query(folder):
        return read_support_and_query(folder, skipped)
    classes = ClassFolder.load(folder, settings.part)
    return draw_episodes(
        classes, settings.n_ways, settings.k_shots, settings.episodes, settings.seed, skipped
    )


def checked(episodes: list[Episode], source: str | Path) -> list[Episode]:
    """The same episodes, when each can be asked.

    Raises:
        V2LError: there is none, or one of them has fewer than two classes, an image without a class, a query of another class, or a
            query that is in the support.
    """
    if not episodes:
        raise V2LError(f"{source} holds no episode", "one JSON object a line", "--save-episodes FILE")
    for number, episode in enumerate(episodes, start=1):
        problem = problem_of(episode)
        if problem:
            allowed = 'two classes and more in "support", and in "query" another image, of one of them or of no known class'
            raise V2LError(f"{source}, line {number}: {problem}", allowed)
    return episodes


def problem_of(episode: Episode) -> str:
    """What keeps an episode from being asked; empty when nothing does."""
    named = [image.label for image in (*episode.support, episode.query) if image.label is not None]
    if not all(isinstance(label, str) for label in named) or any(
        image.label is None for image in episode.support
    ):
        return "a class is no text"
    if len(episode.labels) < 2:
        return f"the support has {len(episode.labels)} class(es)"
    if episode.query.label is not None and episode.query.label not in episode.labels:
        return f"the query is of class {episode.query.label!r}, which has no support"
    if episode.query.path in {shot.path for shot in episode.support}:
        return "the query is in the support"
    return ""


def evaluate_fewshot(
    pipeline: Pipeline,
    episodes: Sequence[Episode],
    settings: FewShotSettings | None = None,
    progress: Progress | None = None,
    skipped: Skipped | None = None,
) -> FewShotResult:
    """Answer all episodes.

    Args:
        pipeline: tokenizer and LLM.
        episodes: what is asked.
        settings: how the LLM is asked.
        progress: told after every batch of images and after every episode.
        skipped: files that could not be read, for the report.

    Raises:
        V2LError: an image cannot be read, labels read the same, or a prompt is longer than the LLM's context.
    """
    settings = (settings or FewShotSettings()).fitting(episodes)
    predictions = []
    for prediction in answers(pipeline, episodes, settings.method, progress=progress):
        predictions.append(prediction)
        if progress:
            progress("episodes", len(predictions), len(episodes))
    return FewShotResult(tuple(predictions), settings, pipeline.describe(), skipped or Skipped())


def answers(
    pipeline: Pipeline,
    episodes: Sequence[Episode],
    method: Method,
    names: Names | None = None,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """Answer episodes one after the other, each image encoded once; see `classify`."""
    paths = [image.path for episode in episodes for image in (*episode.support, episode.query)]
    images = read_image_words(pipeline.tokenizer, paths, method.words, progress)
    for episode in episodes:
        yield classify(pipeline.llm, episode, images, method, names)


def classify(
    llm: FrozenLLM, episode: Episode, images: Images, method: Method, names: Names | None = None
) -> Prediction:
    """Answer one episode.

    Args:
        llm: the judge.
        episode: support and query.
        images: what was read of all of them.
        method: how the LLM is asked.
        names: per class its name's vector, for the baseline that needs them.

    Raises:
        V2LError: labels read the same or have no tokens, or the prompt is longer than the LLM's context.
    """
    supports = [(images[shot.path].words, shot.label or "") for shot in episode.support]
    asked = LabelQuery(
        supports,
        images[episode.query.path].words,
        method.format,
        method.orders,
        method.per_token,
        method.batch_size,
    )
    asked.check(llm)
    text, scores = answer(llm, asked, method)
    labels = {method.format.name(label): label for label in asked.labels}
    truth = episode.query.label
    return Prediction(
        query=str(episode.query.path),
        label=labels.get(text),
        truth=truth,
        right=None if truth is None else method.is_right(text, truth),
        text=text,
        scores=scores,
        words=tuple(asked.query),
        baselines=baseline_answers(episode, images, names),
    )


def answer(llm: FrozenLLM, asked: LabelQuery, method: Method) -> tuple[str, dict[str, float]]:
    """What the LLM says, and the scores that decided: the highest wins, and of equals the first."""
    if method.rule in WRITINGS:
        return WRITINGS[method.rule](llm, asked), {}
    scores = RULES[method.rule](llm, asked)
    return method.format.name(max(scores, key=scores.__getitem__)), scores

"""episodes ──► labels, predicted by the frozen LLM from words alone.

Every image becomes its global words; the LLM never receives a pixel or a vector. Source: V2L Tokenizer, arXiv
2403.07874, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, get_args

from v2l.datasets import (
    ClassFolder,
    Episode,
    check_class_folder,
    draw_episodes,
    has_support_and_query,
    load_episodes,
    read_support_and_query,
)
from v2l.errors import V2LError
from v2l.images import Skipped
from v2l.llm import FrozenLLM
from v2l.metrics import Proportion
from v2l.pipeline.image_words import ImageWords, WordSelection, read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.fewshot import FewShotFormat
from v2l.sources import Part
from v2l.tasks.classification.baselines import Images, Names, predict_baselines
from v2l.tasks.classification.label_generation import GENERATION_RULES
from v2l.tasks.classification.label_scoring import SCORING_RULES, LabelQuery, Scores
from v2l.tasks.classification.soft_labels import score_names
from v2l.tokenizers.needs import gives

SOFT_RULE = "loglikelihood"  # what decides when images are soft tokens
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Method:
    """How an episode is classified.

    Attributes:
        protocol: the name of the preset that this method started from.
        rule: what decides: log-probabilities (`label_scoring.SCORING_RULES`) or the text that the LLM
            generates (`label_generation.GENERATION_RULES`).
        words: which words an image gets.
        format: how the prompt of an episode is written.
        orders: number of orders of the support over which the log-probabilities of labels are averaged.
        per_token: whether a label's log-probability is divided by its number of tokens.
        prefix: whether an answer that continues after the right name counts as right, as in the official
            code.
        batch_size: number of prompts in one forward pass; limits the memory.
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
        rules = (*SCORING_RULES, *GENERATION_RULES)
        if self.rule not in rules:
            raise V2LError(f"got the rule {self.rule!r}", ", ".join(rules), "--rule both")
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


def find_method(protocol: str) -> Method:
    """The method of a protocol.

    Raises:
        V2LError: the protocol is unknown.
    """
    if protocol not in PROTOCOLS:
        raise V2LError(f"got the protocol {protocol!r}", ", ".join(PROTOCOLS), "--protocol default")
    return PROTOCOLS[protocol]


def find_part(name: str) -> Part:
    """The part of a folder's images that has this name.

    Raises:
        V2LError: the name is unknown.
    """
    for part in PARTS:
        if part == name:
            return part
    raise V2LError(f"got the part {name!r}", ", ".join(PARTS), "--part eval")


@dataclass(frozen=True)
class FewShotSettings:
    """Which episodes are drawn, and how they are classified.

    Attributes:
        n_ways: classes of an episode.
        k_shots: labelled images of a class.
        episodes: number of episodes.
        seed: seed of the episodes.
        part: part of the folder's images: train, eval (80/20 by file name) or all.
        method: how an episode is classified.
    """

    n_ways: int = 2
    k_shots: int = 1
    episodes: int = 100
    seed: int = 0
    part: Part = "all"
    method: Method = field(default_factory=Method)

    def __post_init__(self) -> None:
        find_part(self.part)

    def matching(self, episodes: Sequence[Episode]) -> Self:
        """The same settings with the ways, shots and number of the given episodes.

        They differ from the settings when the episodes come from a file or from the user's own support
        folder.
        """
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
    """The prediction for one query.

    Attributes:
        query: the image file.
        label: the predicted label; None when the LLM generated a text that is no label.
        truth: the true class; None when it is not known.
        right: whether the prediction is right; None when the true class is not known.
        text: the text that the LLM generated, or the name of the label with the highest score.
        scores: for each label the log-probability (natural logarithm) that decided; empty when the LLM
            generated.
        words: the words of the query.
        baselines: for each baseline the label that it predicts without an LLM.
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
        """A prediction from the form that `asdict` and JSON give it."""
        return cls(**{**record, "words": tuple(record["words"])})


@dataclass(frozen=True)
class FewShotResult:
    """Predictions and their summary.

    Attributes:
        predictions: one for each episode.
        settings: the settings of the run.
        pipeline: names and fingerprints of tokenizer and LLM.
        skipped: files that could not be read, with the reasons.
        notes: for each support or query image with too little to see for its words to mean something: why.
    """

    predictions: tuple[Prediction, ...]
    settings: FewShotSettings
    pipeline: dict[str, Any]
    skipped: Skipped = field(default_factory=Skipped)
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def accuracy(self) -> Proportion | None:
        """The share of right predictions among queries of known class; None when no class is known."""
        return share(prediction.right for prediction in self.predictions)

    @property
    def baselines(self) -> dict[str, Proportion | None]:
        """The same for every baseline."""
        names = self.predictions[0].baselines if self.predictions else ()
        return {
            name: share(baseline_right(prediction, name) for prediction in self.predictions) for name in names
        }

    def to_dict(self) -> dict[str, Any]:
        """The report: accuracy, baselines, settings, pipeline."""
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
            "notes": [{"image": image, "note": note} for image, note in self.notes.items()],
            "stack": self.pipeline,
        }


def share(right: Iterable[bool | None]) -> Proportion | None:
    """The share of True among the values that are not None; None when all are."""
    known = [answer for answer in right if answer is not None]
    return Proportion(sum(known), len(known)) if known else None


def baseline_right(prediction: Prediction, name: str) -> bool | None:
    """Whether a baseline was right; None when the true class is not known."""
    return None if prediction.truth is None else prediction.baselines[name] == prediction.truth


def find_episodes(
    folder: str | Path,
    settings: FewShotSettings,
    skipped: Skipped | None = None,
    saved: str | Path | None = None,
) -> list[Episode]:
    """The episodes of a folder: saved, from the user's own support/ and query/, or drawn from class folders.

    Args:
        folder: the folder of the images.
        settings: how many episodes of which shape are drawn.
        skipped: collects the files that cannot be read.
        saved: a file that `save_episodes` wrote.

    Raises:
        V2LError: the folder holds neither, too few classes or images, or the file holds no valid episodes.
    """
    check_class_folder(folder)
    if saved is not None:
        return check_episodes(load_episodes(saved, Path(folder)), saved)
    if has_support_and_query(folder):
        return read_support_and_query(folder, skipped)
    classes = ClassFolder.load(folder, settings.part)
    return draw_episodes(
        classes, settings.n_ways, settings.k_shots, settings.episodes, settings.seed, skipped
    )


def check_episodes(episodes: list[Episode], source: str | Path) -> list[Episode]:
    """The same episodes, if all of them are valid.

    Raises:
        V2LError: there is none, or one of them has fewer than two classes, an image without a class, a query
            of another class, or a query that is in the support.
    """
    if not episodes:
        raise V2LError(f"{source} holds no episode", "one JSON object a line", "--save-episodes FILE")
    for number, episode in enumerate(episodes, start=1):
        problem = find_problem(episode)
        if problem:
            raise V2LError(
                f"{source}, line {number}: {problem}",
                'two or more classes in "support", and in "query" another image, of one of these or of none',
            )
    return episodes


def find_problem(episode: Episode) -> str:
    """Why an episode is not valid; empty when it is."""
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
    """Classify the query of every episode and count the right predictions.

    Args:
        pipeline: tokenizer and LLM.
        episodes: the episodes to classify.
        settings: how they are classified.
        progress: called after every batch of images and after every episode.
        skipped: files that could not be read, for the report.

    Raises:
        V2LError: an image cannot be read, two labels have the same name, or a prompt is longer than the LLM's
            context.
    """
    settings = (settings or FewShotSettings()).matching(episodes)
    if gives(pipeline.tokenizer, "embeddings"):
        settings = replace(settings, method=soft_method(settings.method))
    images = read_image_words(pipeline.tokenizer, image_paths(episodes), settings.method.words, progress)
    predictions = []
    for episode in episodes:
        predictions.append(classify_episode(pipeline.llm, episode, images, settings.method))
        if progress:
            progress("episodes", len(predictions), len(episodes))
    notes = {str(path): image.note for path, image in images.items() if image.note is not None}
    return FewShotResult(tuple(predictions), settings, pipeline.describe(), skipped or Skipped(), notes)


def image_paths(episodes: Iterable[Episode]) -> list[Path]:
    """The image files of some episodes; a file that several of them use is listed again."""
    return [image.path for episode in episodes for image in (*episode.support, episode.query)]


def classify_episode(
    llm: FrozenLLM, episode: Episode, images: Images, method: Method, names: Names | None = None
) -> Prediction:
    """Classify the query of one episode.

    Args:
        llm: the LLM that scores or generates labels.
        episode: support and query.
        images: words and vector of every image of the episode.
        method: how the episode is classified.
        names: for each class the vector of its name, for the zero-shot baseline.

    Raises:
        V2LError: labels have the same name or no tokens, or the prompt is longer than the LLM's context.
    """
    if images[episode.query.path].soft is not None:
        return classify_soft_episode(llm, episode, images, method, names)
    query = LabelQuery(
        [(images[shot.path].words, shot.label or "") for shot in episode.support],
        images[episode.query.path].words,
        method.format,
        method.orders,
        method.per_token,
        method.batch_size,
    )
    query.check(llm)
    text, scores = classify_query(llm, query, method)
    labels = {method.format.name(label): label for label in query.labels}
    truth = episode.query.label
    return Prediction(
        query=str(episode.query.path),
        label=labels.get(text),
        truth=truth,
        right=None if truth is None else method.is_right(text, truth),
        text=text,
        scores=scores,
        words=tuple(query.words),
        baselines=predict_baselines(episode, images, names),
    )


def classify_soft_episode(
    llm: FrozenLLM, episode: Episode, images: Images, method: Method, names: Names | None = None
) -> Prediction:
    """Classify the query of one episode by soft tokens; the arguments are those of `classify_episode`.

    Raises:
        V2LError: an image has no soft tokens, or the prompt is longer than the LLM's context.
    """
    supports = [(soft_of(images[shot.path]), shot.label or "") for shot in episode.support]
    query = images[episode.query.path]
    (scores,) = score_names(llm, [soft_of(query)], sorted(episode.labels), supports, method.batch_size)
    label, truth = max(scores, key=scores.__getitem__), episode.query.label
    return Prediction(
        query=str(episode.query.path),
        label=label,
        truth=truth,
        right=None if truth is None else label == truth,
        text=method.format.name(label),
        scores=scores,
        words=query.words,
        baselines=predict_baselines(episode, images, names),
    )


def soft_of(image: ImageWords) -> Embeddings:
    """The soft tokens of an image.

    Raises:
        V2LError: it has none.
    """
    if image.soft is None:
        raise V2LError("got an image without soft tokens", "images of one tokenizer", "--tokenizer DIR")
    return image.soft


def soft_method(method: Method) -> Method:
    """The method for soft tokens: only log p(label | images) can be read from them.

    Raises:
        V2LError: another rule was chosen.
    """
    if method.rule not in (Method().rule, SOFT_RULE):
        raise V2LError(
            f"got the rule {method.rule!r} with soft tokens, which have no words to score",
            SOFT_RULE,
            f"--rule {SOFT_RULE}",
        )
    return replace(method, rule=SOFT_RULE)


def classify_query(llm: FrozenLLM, query: LabelQuery, method: Method) -> tuple[str, Scores]:
    """The text of the prediction, and the scores that decided; ties go to the first label.

    A generation rule has no scores.
    """
    if method.rule in GENERATION_RULES:
        return GENERATION_RULES[method.rule](llm, query), {}
    scores = SCORING_RULES[method.rule](llm, query)
    return method.format.name(max(scores, key=scores.__getitem__)), scores

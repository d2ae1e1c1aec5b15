"""episodes ──► labels, chosen by the frozen LLM's log-probabilities alone.

Every image becomes its global words; the LLM never sees a pixel. Sources: V2L Tokenizer, arXiv 2403.07874, section 4.1 (words to
label); Min et al., arXiv 2108.04106 (label to words, the noisy channel).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from v2l.datasets import ClassFolder, Episode, Part, draw_episodes, has_support_and_query, read_support_and_query
from v2l.errors import V2LError
from v2l.images import Skipped
from v2l.llm import FrozenLLM
from v2l.metrics import Proportion
from v2l.prompts.fewshot import FewShotFormat, Support, channel_prompt, fewshot_prompt
from v2l.prompts.wording import check_wording
from v2l.tasks.baselines import nearest_prototype
from v2l.tasks.reading import Progress, ReadImage, read_images
from v2l.tasks.stack import Stack

PARTS = get_args(Part)
CONTENT_FREE = ("N/A",)  # words that say nothing (Zhao et al., arXiv 2102.09690)
PROTOCOL = "default"  # every label is scored; the official one masks positions and scores prefixes


@dataclass(frozen=True)
class FewShotSettings:
    """What is asked, and how.

    Attributes:
        n_ways: classes of an episode.
        k_shots: labelled images of a class.
        episodes: how many are drawn.
        seed: of the episodes.
        part: of the folder's images: train, eval (80/20 by file name) or all.
        n_words: global words of an image.
        rule: loglikelihood, log p(label | words of the query), the paper's; calibrated, the same less what the LLM likes anyway;
            channel, log p(words of the query | label); both, the sum of the last two.
        prompt: wording, paper, official or tuned.
        induction: whether the prompt names the labels first; the channel has no such line.
        repeats: how often the support is repeated.
    """

    n_ways: int = 2
    k_shots: int = 1
    episodes: int = 100
    seed: int = 0
    part: Part = "all"
    n_words: int = 8
    rule: str = "both"
    prompt: str = "tuned"
    induction: bool = False
    repeats: int = 0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise V2LError(f"got the rule {self.rule!r}", ", ".join(RULES), "--rule both")
        if self.part not in PARTS:
            raise V2LError(f"got the part {self.part!r}", ", ".join(PARTS), "--part eval")
        check_wording(self.prompt)
        if self.n_words < 1 or self.repeats < 0:
            raise V2LError(f"got {self.n_words} words and {self.repeats} repeats", "1 word and more, 0 repeats and more")

    @property
    def format(self) -> FewShotFormat:
        """How an episode is written."""
        return FewShotFormat(self.prompt, self.induction, self.repeats)


@dataclass(frozen=True)
class Prediction:
    """One answer.

    Attributes:
        query: the image.
        label: the label chosen.
        truth: its class; None when nobody said.
        scores: per label, the log-probability that decided, natural logarithm.
        words: the query's words.
        prototype: the answer of the nearest class prototype, without an LLM.
    """

    query: Path
    label: str
    truth: str | None
    scores: dict[str, float]
    words: tuple[str, ...]
    prototype: str


@dataclass(frozen=True)
class FewShotResult:
    """Answers and their summary.

    Attributes:
        predictions: one per episode.
        settings: what was asked.
        stack: names and fingerprints.
        n_labels: labels of each episode, for chance.
    """

    predictions: tuple[Prediction, ...]
    settings: FewShotSettings
    stack: dict[str, Any]
    n_labels: int

    @property
    def accuracy(self) -> Proportion | None:
        """The share of right answers among queries whose class is known; None when none is."""
        return self._share(lambda prediction: prediction.label)

    @property
    def prototype_accuracy(self) -> Proportion | None:
        """The same for the nearest class prototype."""
        return self._share(lambda prediction: prediction.prototype)

    def to_dict(self) -> dict[str, Any]:
        """The report: figures, baselines, settings, stack."""
        figures = (self.accuracy, self.prototype_accuracy)
        accuracy, prototype = (figure.to_dict() if figure else None for figure in figures)
        return {
            "accuracy": accuracy,
            "n": sum(prediction.truth is not None for prediction in self.predictions),
            "seed": self.settings.seed,
            "protocol": PROTOCOL,
            "baselines": {"chance": {"value": 1 / self.n_labels}, "prototype": prototype},
            "settings": asdict(self.settings),
            "stack": self.stack,
        }

    def _share(self, answer: Callable[[Prediction], str]) -> Proportion | None:
        judged = [prediction for prediction in self.predictions if prediction.truth is not None]
        return Proportion(sum(answer(prediction) == prediction.truth for prediction in judged), len(judged)) if judged else None


def find_episodes(folder: str | Path, settings: FewShotSettings, skipped: Skipped | None = None) -> list[Episode]:
    """The episodes of a folder: the user's own (support/ and query/), or drawn from class folders.

    Raises:
        V2LError: the folder holds neither, or too few classes or images.
    """
    if has_support_and_query(folder):
        return read_support_and_query(folder, skipped)
    classes = ClassFolder.load(folder, settings.part)
    return draw_episodes(classes, settings.n_ways, settings.k_shots, settings.episodes, settings.seed, skipped)


def evaluate_fewshot(
    stack: Stack, episodes: Sequence[Episode], settings: FewShotSettings | None = None, progress: Progress | None = None
) -> FewShotResult:
    """Answer all episodes.

    Args:
        stack: tokenizer and LLM.
        episodes: what is asked.
        settings: how the LLM is asked.
        progress: told (episodes done, episodes in all) after each.

    Raises:
        V2LError: an image cannot be read, or a prompt is longer than the LLM's context.
    """
    settings = settings or FewShotSettings()
    paths = [image.path for episode in episodes for image in (*episode.support, episode.query)]
    images = read_images(stack.tokenizer, paths, settings.n_words)
    predictions = []
    for episode in episodes:
        predictions.append(classify(stack.llm, episode, images, settings))
        if progress:
            progress(len(predictions), len(episodes))
    n_labels = len(episodes[0].labels) if episodes else settings.n_ways
    return FewShotResult(tuple(predictions), settings, stack.describe(), n_labels)


def classify(llm: FrozenLLM, episode: Episode, images: Mapping[Path, ReadImage], settings: FewShotSettings) -> Prediction:
    """Answer one episode: every label is scored, the highest wins, and of equals the first.

    Args:
        llm: the judge.
        episode: support and query.
        images: what was read of all of them.
        settings: how the LLM is asked.

    Raises:
        V2LError: the prompt is longer than the LLM's context.
    """
    supports = [(images[shot.path].words, shot.label or "") for shot in episode.support]
    query = images[episode.query.path].words
    scores = RULES[settings.rule](llm, supports, query, settings.format)
    label = max(scores, key=scores.__getitem__)
    return Prediction(episode.query.path, label, episode.query.label, scores, query, nearest_prototype(episode, images))


def judge_labels(
    llm: FrozenLLM, supports: Sequence[Support], queries: Sequence[Sequence[str]], format: FewShotFormat
) -> list[dict[str, float]]:
    """The log-likelihood of each label after each of the queries; the support is read once."""
    labels = sorted({label for _, label in supports})
    choices = [format.label(label) for label in labels]
    requests = [(fewshot_prompt(supports, query, format), choices) for query in queries]
    scores = llm.loglikelihood(requests, batch_size=len(requests))
    return [{label: score.total for label, score in zip(labels, found, strict=True)} for found in scores]


def label_loglikelihoods(llm: FrozenLLM, supports: Sequence[Support], query: Sequence[str], format: FewShotFormat) -> dict[str, float]:
    """Score each label as the continuation of the paper's prompt: log p(label | support, words of the query)."""
    return judge_labels(llm, supports, [query], format)[0]


def channel_loglikelihoods(llm: FrozenLLM, supports: Sequence[Support], query: Sequence[str], format: FewShotFormat) -> dict[str, float]:
    """Score each label by the words that it makes likely: log p(words of the query | support, label)."""
    labels = sorted({label for _, label in supports})
    words = format.words(query)
    scores = llm.loglikelihood([(channel_prompt(supports, label, format), [words]) for label in labels], batch_size=len(labels))
    return {label: score.total for label, (score,) in zip(labels, scores, strict=True)}


def calibrated_loglikelihoods(llm: FrozenLLM, supports: Sequence[Support], query: Sequence[str], format: FewShotFormat) -> dict[str, float]:
    """Score each label by how much the query's words raise it over words that say nothing, which takes out the LLM's own liking."""
    scores, liking = judge_labels(llm, supports, [query, CONTENT_FREE], format)
    return {label: scores[label] - liking[label] for label in scores}


def both_loglikelihoods(llm: FrozenLLM, supports: Sequence[Support], query: Sequence[str], format: FewShotFormat) -> dict[str, float]:
    """Score each label in both directions: the channel's log-likelihood and the calibrated one, added."""
    channel, calibrated = (score(llm, supports, query, format) for score in (channel_loglikelihoods, calibrated_loglikelihoods))
    return {label: channel[label] + calibrated[label] for label in channel}


RULES = {
    "both": both_loglikelihoods,
    "channel": channel_loglikelihoods,
    "calibrated": calibrated_loglikelihoods,
    "loglikelihood": label_loglikelihoods,
}

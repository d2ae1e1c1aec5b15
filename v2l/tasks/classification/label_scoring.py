"""words of labelled images and of a query ──► a score for each label, from the LLM's log-probabilities.

Each scoring rule is a function that can be measured alone; the rule `both` adds two of them. Sources: V2L
Tokenizer, arXiv 2403.07874, section 4.1 (words to label); Zhao et al., arXiv 2102.09690 (contextual
calibration); Lu et al., arXiv 2104.08786 (the order of examples matters); Min et al., arXiv 2108.04106 (noisy
channel).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log
from statistics import fmean

from v2l.errors import V2LError
from v2l.llm import FrozenLLM, Score
from v2l.prompts.fewshot import (
    FewShotFormat,
    Support,
    channel_prompt,
    fewshot_prompt,
    list_prompt,
    support_orders,
    support_rounds,
)
from v2l.prompts.prompt import Prompt

Scores = dict[str, float]
CONTENT_FREE = (("N/A",), (), ("[MASK]",))  # inputs without content (Zhao et al., section 4)
BACKGROUND_SHARE = 0.5  # s in `log_gain`: a word that no example explains costs a label at most log 2
LABEL_WEIGHT = 4.0  # weight of log p(label | words) in `both`, because a query has many words and one label


@dataclass(frozen=True)
class LabelQuery:
    """One episode as the LLM sees it: words and labels, no image.

    Attributes:
        supports: for each labelled image its words, nearest first, and its label.
        words: the words of the image to classify.
        format: how the prompt is written.
        orders: number of orders of the support over which the scores of labels are averaged.
        per_token: whether a label's log-probability is divided by its number of tokens.
        batch_size: number of prompts in one forward pass; limits the memory.
    """

    supports: Sequence[Support]
    words: Sequence[str]
    format: FewShotFormat
    orders: int = 1
    per_token: bool = False
    batch_size: int = 8

    @cached_property
    def labels(self) -> list[str]:
        """The labels to choose from, sorted."""
        return sorted({label for _, label in self.supports})

    @property
    def choices(self) -> list[str]:
        """The labels as pieces of a prompt, in the same order."""
        return [self.format.label(label) for label in self.labels]

    def examples_of(self, label: str) -> list[Support]:
        """The labelled images of one label."""
        return [(words, name) for words, name in self.supports if name == label]

    def check(self, llm: FrozenLLM) -> None:
        """Refuse labels that the LLM cannot distinguish or cannot read.

        Raises:
            V2LError: two labels have the same name in the prompt, or one has no tokens.
        """
        labels_by_name: dict[str, str] = {}
        for label in self.labels:
            name = self.format.name(label)
            if not name.strip("_ ") or not llm.encode_pieces(self.format.label(label)):
                raise V2LError(
                    f"the class {label!r} has a name without tokens",
                    "names with letters or digits",
                    "another folder name",
                )
            if name in labels_by_name:
                raise V2LError(
                    f"the classes {labels_by_name[name]!r} and {label!r} read the same, {name!r}",
                    "names that differ when _ is a space",
                )
            labels_by_name[name] = label


ScoringRule = Callable[[FrozenLLM, LabelQuery], Scores]


def loglikelihood(llm: FrozenLLM, query: LabelQuery) -> Scores:
    """The direction of the paper: log p(label | supports, words of the query)."""
    return label_scores(llm, query, [query.words])[0]


def calibrated(llm: FrozenLLM, query: LabelQuery) -> Scores:
    """The same minus the mean log-probability of the label after inputs without content (Zhao et al.)."""
    scores, *prior_scores = label_scores(llm, query, [query.words, *CONTENT_FREE])
    return {
        label: score - fmean(scores_of_prior[label] for scores_of_prior in prior_scores)
        for label, score in scores.items()
    }


def rounds(llm: FrozenLLM, query: LabelQuery) -> Scores:
    """The paper's direction with one example of each label at a time, averaged over these rounds.

    Short lists help because a small LLM does not use long lists of examples well.
    """
    found = [loglikelihood(llm, replace(query, supports=some)) for some in support_rounds(query.supports)]
    return {label: fmean(scores[label] for scores in found) for label in query.labels}


def channel(llm: FrozenLLM, query: LabelQuery) -> Scores:
    """The noisy channel (Min et al.): log p(words of the query | supports, label)."""
    prompts = [channel_prompt(query.supports, label, query.format) for label in query.labels]
    scores = word_scores(llm, query, prompts)
    return {label: score.total for label, score in zip(query.labels, scores, strict=True)}


def alone(llm: FrozenLLM, query: LabelQuery) -> Scores:
    """The noisy channel where the prompt of a label holds only the examples of that label.

    The examples of the other labels are left out because the LLM would copy words from them.
    """
    scores = own_example_scores(llm, query)
    return {label: score.total for label, score in zip(query.labels, scores, strict=True)}


def contrast(llm: FrozenLLM, query: LabelQuery) -> Scores:
    """How much the examples of a label raise the probability of the query's words.

    The reference is a prompt without examples. The two distributions are interpolated for each token (Jelinek
    & Mercer 1980), because one word that no example explains must not decide.
    """
    *found, background = own_example_scores(llm, query, [list_prompt(query.format)])
    return {label: log_gain(score, background) for label, score in zip(query.labels, found, strict=True)}


def both(llm: FrozenLLM, query: LabelQuery) -> Scores:
    """The sum of both directions: `alone`, plus `rounds` times `LABEL_WEIGHT`."""
    word_part, label_part = alone(llm, query), rounds(llm, query)
    return {label: word_part[label] + LABEL_WEIGHT * label_part[label] for label in query.labels}


SCORING_RULES: Mapping[str, ScoringRule] = {
    "both": both,
    "contrast": contrast,
    "alone": alone,
    "channel": channel,
    "calibrated": calibrated,
    "rounds": rounds,
    "loglikelihood": loglikelihood,
}


def label_scores(llm: FrozenLLM, query: LabelQuery, inputs: Sequence[Sequence[str]]) -> list[Scores]:
    """For each input (a list of words) the log-probability of each label after it.

    The scores are averaged over the orders of the support. The support is the prefix that all prompts of one
    order share, so it is read once.
    """
    found: list[Scores] = [dict.fromkeys(query.labels, 0.0) for _ in inputs]
    for supports in support_orders(query.supports, query.orders):
        requests = [(fewshot_prompt(supports, words, query.format), query.choices) for words in inputs]
        for sums, scores in zip(found, llm.loglikelihood(requests, query.batch_size), strict=True):
            for label, score in zip(query.labels, scores, strict=True):
                sums[label] += (score.mean if query.per_token else score.total) / query.orders
    return found


def own_example_scores(llm: FrozenLLM, query: LabelQuery, others: Sequence[Prompt] = ()) -> list[Score]:
    """The scores of the query's words after the examples of each single label, then after other prompts."""
    prompts = [channel_prompt(query.examples_of(label), label, query.format) for label in query.labels]
    return word_scores(llm, query, [*prompts, *others])


def word_scores(llm: FrozenLLM, query: LabelQuery, prompts: Sequence[Prompt]) -> list[Score]:
    """The score of the query's words after each of the prompts."""
    words = query.format.words(query.words)
    requests = [(prompt, [words]) for prompt in prompts]
    return [scores[0] for scores in llm.loglikelihood(requests, query.batch_size)]


def log_gain(score: Score, background: Score) -> float:
    """The sum over tokens of log((1 - s) p / b + s).

    p is the probability after examples, b the probability without examples, s is `BACKGROUND_SHARE`.
    """
    log_ratios = (found - usual for found, usual in zip(score.per_token, background.per_token, strict=True))
    return sum(log((1 - BACKGROUND_SHARE) * exp(ratio) + BACKGROUND_SHARE) for ratio in log_ratios)

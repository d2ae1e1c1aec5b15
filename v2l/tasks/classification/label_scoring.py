"""words of labelled images and of a query ──► a score for each label, from the frozen LLM's log-probabilities alone.

Each piece is a function by itself and can be measured by itself; `both` adds two. Sources: V2L Tokenizer, arXiv 2403.07874, section 4.1
(words to label); Zhao et al., arXiv 2102.09690 (contextual calibration); Lu et al., arXiv 2104.08786 (the order of examples matters);
Min et al., arXiv 2108.04106 (noisy channel).
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
CONTENT_FREE = (("N/A",), (), ("[MASK]",))  # lists of words that say nothing (Zhao et al., section 4)
SHARE = 0.5  # of a word's probability that may come from anywhere: a word that no example explains costs a label at most log 2
WEIGHT = 4.0  # of the label's direction beside the words', of which there are many


@dataclass(frozen=True)
class LabelQuery:
    """One episode as the LLM sees it: words and labels, no image.

    Attributes:
        supports: per labelled image its words, nearest first, and its label.
        query: the words of the image to be named.
        format: how it is written.
        orders: orders of the support over which the scores of labels are averaged.
        per_token: whether a label's log-probability is divided by its tokens.
        batch_size: how many prompts the LLM reads at once; bounds the memory.
    """

    supports: Sequence[Support]
    query: Sequence[str]
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

    def of(self, label: str) -> list[Support]:
        """The examples of one label."""
        return [(words, name) for words, name in self.supports if name == label]

    def check(self, llm: FrozenLLM) -> None:
        """Refuse labels that the LLM cannot tell apart or cannot read.

        Raises:
            V2LError: two labels read the same, or one has no tokens.
        """
        read: dict[str, str] = {}
        for label in self.labels:
            name = self.format.name(label)
            if not name.strip("_ ") or not llm.encode_pieces(self.format.label(label)):
                raise V2LError(
                    f"the class {label!r} has a name without tokens",
                    "names with letters or digits",
                    "another folder name",
                )
            if name in read:
                raise V2LError(
                    f"the classes {read[name]!r} and {label!r} read the same, {name!r}",
                    "names that differ when _ is a space",
                )
            read[name] = label


Rule = Callable[[FrozenLLM, LabelQuery], Scores]


def loglikelihood(llm: FrozenLLM, asked: LabelQuery) -> Scores:
    """How likely each label is behind the words: log p(label | supports, words of the query), the paper's direction."""
    return label_scores(llm, asked, [asked.query])[0]


def calibrated(llm: FrozenLLM, asked: LabelQuery) -> Scores:
    """The same, less what the LLM gives the label after words that say nothing, averaged over several such lists."""
    scores, *liking = label_scores(llm, asked, [asked.query, *CONTENT_FREE])
    return {label: score - fmean(other[label] for other in liking) for label, score in scores.items()}


def rounds(llm: FrozenLLM, asked: LabelQuery) -> Scores:
    """The paper's direction after one example of each label at a time, averaged: a small LLM loses itself in long lists."""
    found = [loglikelihood(llm, replace(asked, supports=some)) for some in support_rounds(asked.supports)]
    return {label: fmean(scores[label] for scores in found) for label in asked.labels}


def channel(llm: FrozenLLM, asked: LabelQuery) -> Scores:
    """How likely each label makes the words: log p(words of the query | supports, label)."""
    prompts = [channel_prompt(asked.supports, label, asked.format) for label in asked.labels]
    return {
        label: score.total
        for label, score in zip(asked.labels, word_scores(llm, asked, prompts), strict=True)
    }


def alone(llm: FrozenLLM, asked: LabelQuery) -> Scores:
    """The same where each label is shown with its own examples alone, so that nothing of the others leaks into its words."""
    return {label: score.total for label, score in zip(asked.labels, alone_scores(llm, asked), strict=True)}


def contrast(llm: FrozenLLM, asked: LabelQuery) -> Scores:
    """How much each label's own examples raise the query's words over no example, word by word.

    Every token may come from anywhere as well (Jelinek & Mercer 1980), so that words that nothing explains cannot decide.
    """
    *found, background = alone_scores(llm, asked, [list_prompt(asked.format)])
    return {label: raised(score, background) for label, score in zip(asked.labels, found, strict=True)}


def both(llm: FrozenLLM, asked: LabelQuery) -> Scores:
    """Both directions, added: the words behind the label's own examples, and the label behind the words, round by round."""
    words, labels = alone(llm, asked), rounds(llm, asked)
    return {label: words[label] + WEIGHT * labels[label] for label in asked.labels}


RULES: Mapping[str, Rule] = {
    "both": both,
    "contrast": contrast,
    "alone": alone,
    "channel": channel,
    "calibrated": calibrated,
    "rounds": rounds,
    "loglikelihood": loglikelihood,
}


def label_scores(llm: FrozenLLM, asked: LabelQuery, queries: Sequence[Sequence[str]]) -> list[Scores]:
    """The log-probability of each label after each of the queries, averaged over orders of the support, each read once."""
    found: list[Scores] = [dict.fromkeys(asked.labels, 0.0) for _ in queries]
    for supports in support_orders(asked.supports, asked.orders):
        requests = [(fewshot_prompt(supports, query, asked.format), asked.choices) for query in queries]
        for sums, scores in zip(found, llm.loglikelihood(requests, asked.batch_size), strict=True):
            for label, score in zip(asked.labels, scores, strict=True):
                sums[label] += (score.mean if asked.per_token else score.total) / asked.orders
    return found


def alone_scores(llm: FrozenLLM, asked: LabelQuery, others: Sequence[Prompt] = ()) -> list[Score]:
    """The scores of the query's words behind each label's own examples, then behind other prompts."""
    return word_scores(
        llm,
        asked,
        [*(channel_prompt(asked.of(label), label, asked.format) for label in asked.labels), *others],
    )


def word_scores(llm: FrozenLLM, asked: LabelQuery, prompts: Sequence[Prompt]) -> list[Score]:
    """The score of the query's words behind each of the prompts."""
    words = asked.format.words(asked.query)
    return [
        score for (score,) in llm.loglikelihood([(prompt, [words]) for prompt in prompts], asked.batch_size)
    ]


def raised(score: Score, background: Score) -> float:
    """The sum over tokens of log((1 - s) p / b + s): p behind examples, b behind none, s the share that may come from anywhere."""
    gains = (found - usual for found, usual in zip(score.per_token, background.per_token, strict=True))
    return sum(log((1 - SHARE) * exp(gain) + SHARE) for gain in gains)

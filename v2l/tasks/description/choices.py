"""words of images ──► answers to questions with given answers, from the frozen LLM's log-probabilities.

A small LLM generates poor answers to "is it an animal?": it prefers one answer whatever the words are. It
knows that a beagle is an animal, though, and its log-probabilities say so. See `v2l.prompts.choices` for the
prompts. The numbers of words and the weight were chosen on training photographs of Caltech-101
(docs/experiments/describe.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from v2l.errors import V2LError
from v2l.llm import FrozenLLM
from v2l.prompts.choices import (
    ANY_KIND,
    channel_prompt,
    kind_continuation,
    kind_prompt,
    words_continuation,
)
from v2l.prompts.prompt import Prompt

CHOICE_WORDS = 3  # words of an image that decide between answers
KIND_WORDS = 5  # words of an image that decide whether it is of a kind
KIND_WEIGHT = 0.5  # of the kind's score beside the noisy channel's
BATCH = 32

Request = tuple[Prompt, list[Prompt]]


@dataclass(frozen=True)
class Choice:
    """One image's words and the answers to choose from.

    Attributes:
        words: of the image, nearest first.
        answers: names of things, at least two: "beagle", "grand piano".
    """

    words: tuple[str, ...]
    answers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.words or len(set(self.answers)) < 2:
            raise V2LError(
                f"got {len(self.words)} words and {len(set(self.answers))} different answers",
                "1 word and more, and 2 answers and more",
            )


def score_answers(llm: FrozenLLM, choices: Sequence[Choice]) -> list[dict[str, float]]:
    """The score of each answer; the highest is the LLM's choice.

    The score is log p(words | answer) + `KIND_WEIGHT` · the mean over the words of the kind's score.

    Args:
        llm: a local LLM.
        choices: any number of images.

    Raises:
        V2LError: a prompt is longer than the LLM's context.
    """
    requests: list[Request] = []
    for choice in choices:
        words = words_continuation(choice.words[:CHOICE_WORDS])
        requests += [(channel_prompt(answer), [words]) for answer in choice.answers]
    channel = iter(llm.loglikelihood(requests, batch_size=BATCH))
    kinds = kind_scores(llm, [(choice.words[:CHOICE_WORDS], choice.answers) for choice in choices])
    return [
        {answer: next(channel)[0].total + KIND_WEIGHT * kind[answer] for answer in choice.answers}
        for choice, kind in zip(choices, kinds, strict=True)
    ]


def score_kinds(llm: FrozenLLM, words: Sequence[Sequence[str]], kinds: Sequence[str]) -> list[float]:
    """Whether each image is of its kind: above 0 is yes.

    Args:
        llm: a local LLM.
        words: of n images, nearest first.
        kinds: n kinds, each for its image: "animal", "musical instrument".

    Raises:
        V2LError: a prompt is longer than the LLM's context.
    """
    pairs = [(some[:KIND_WORDS], (kind,)) for some, kind in zip(words, kinds, strict=True)]
    return [scores[kind] for scores, kind in zip(kind_scores(llm, pairs), kinds, strict=True)]


def kind_scores(
    llm: FrozenLLM, pairs: Sequence[tuple[Sequence[str], Sequence[str]]]
) -> list[dict[str, float]]:
    """For each image, its words and some kinds: the mean over the words of

    log p(kind | "A {word} is a type of") - log p(kind | "It is a type of").
    """
    every = list(dict.fromkeys(kind for _, kinds in pairs for kind in kinds))
    if not every:
        return []
    [background] = llm.loglikelihood([(ANY_KIND, [kind_continuation(kind) for kind in every])])
    prior = {kind: score.total for kind, score in zip(every, background, strict=True)}
    requests: list[Request] = [
        (kind_prompt(word), [kind_continuation(kind) for kind in kinds])
        for words, kinds in pairs
        for word in words
    ]
    found = iter(llm.loglikelihood(requests, batch_size=BATCH))
    results = []
    for words, kinds in pairs:
        of_words = [next(found) for _ in words]
        results.append(
            {
                kind: fmean(scores[place].total for scores in of_words) - prior[kind]
                for place, kind in enumerate(kinds)
            }
        )
    return results

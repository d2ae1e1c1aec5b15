"""words of labelled images and of a query ──► a label that the frozen LLM writes itself.

Freely, as the paper counts it: what it writes is exactly a label or is wrong. Or held to the labels, by a trie; or by the official code's
mask. Source: V2L Tokenizer, arXiv 2403.07874, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from v2l.llm import FrozenLLM, GenerationConfig, PlaceMask, Trie
from v2l.prompts.fewshot import fewshot_prompt
from v2l.tasks.classification.label_scoring import LabelQuery

STOPS = ("\n", "###")  # what may stand behind a label
SPARE = 2  # tokens beyond the longest label, to see that it ends
Writing = Callable[[FrozenLLM, LabelQuery], str]


def generate(llm: FrozenLLM, asked: LabelQuery) -> str:
    """What the LLM writes freely, stripped."""
    return written(llm, asked, GenerationConfig(longest(llm, asked) + SPARE, stop=STOPS))


def constrained(llm: FrozenLLM, asked: LabelQuery) -> str:
    """One of the labels, spelled token by token, each the likeliest of those that lead to a label.

    A label that begins another one ("fox", "fox squirrel") is over when the LLM goes on with what stands behind labels in the prompt.
    """
    spelled = {
        tuple(llm.encode_pieces(choice)): asked.format.name(label)
        for label, choice in zip(asked.labels, asked.choices, strict=True)
    }
    end = llm.encode_pieces(asked.format.after_label())[0]
    config = GenerationConfig(longest(llm, asked) + 1, allowed=Trie(spelled, end), ends=False)
    (found,) = llm.generate([fewshot_prompt(asked.supports, asked.query, asked.format)], config)
    return spelled[found.ids if found.ids in spelled else found.ids[:-1]]


def masked(llm: FrozenLLM, asked: LabelQuery) -> str:
    """What the LLM writes under the official code's mask, which is there only when the prompt names the labels."""
    mask = (
        PlaceMask(llm.encode_pieces(choice) for choice in asked.choices) if asked.format.induction else None
    )
    return written(llm, asked, GenerationConfig(longest(llm, asked), allowed=mask))


WRITINGS: Mapping[str, Writing] = {"generate": generate, "constrained": constrained, "masked": masked}


def written(llm: FrozenLLM, asked: LabelQuery, config: GenerationConfig) -> str:
    """The text behind the episode's prompt, without outer spaces."""
    prompt = fewshot_prompt(asked.supports, asked.query, asked.format)
    return llm.generate([prompt], config)[0].text.strip()


def longest(llm: FrozenLLM, asked: LabelQuery) -> int:
    """How many tokens the longest label has."""
    return max(len(llm.encode_pieces(choice)) for choice in asked.choices)

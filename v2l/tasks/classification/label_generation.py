"""words of labelled images and of a query ──► a label that the frozen LLM generates.

Three ways: free generation, where the text is exactly a label or counts as wrong, as in the paper; generation
that a trie restricts to the labels; and generation under the mask of the official code. Source: V2L
Tokenizer, arXiv 2403.07874, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from v2l.llm import FrozenLLM, GenerationConfig, PositionMask, Trie
from v2l.prompts.fewshot import fewshot_prompt
from v2l.tasks.classification.label_scoring import LabelQuery

STOPS = ("\n", "###")  # texts that follow a label
EXTRA_TOKENS = 2  # beyond the longest label, to see whether the text ends there
GenerationRule = Callable[[FrozenLLM, LabelQuery], str]


def generate(llm: FrozenLLM, query: LabelQuery) -> str:
    """Free greedy generation, without outer spaces."""
    return generate_text(llm, query, GenerationConfig(longest_label(llm, query) + EXTRA_TOKENS, stop=STOPS))


def constrained(llm: FrozenLLM, query: LabelQuery) -> str:
    """One of the labels: each token is the most likely one among those that lead to a label.

    A label can be a prefix of another one ("fox", "fox squirrel"). It is complete when the LLM continues with
    the text that follows labels in the prompt.
    """
    names = {
        tuple(llm.encode_pieces(choice)): query.format.name(label)
        for label, choice in zip(query.labels, query.choices, strict=True)
    }
    end = llm.encode_pieces(query.format.after_label())[0]
    config = GenerationConfig(longest_label(llm, query) + 1, allowed=Trie(names, end), ends=False)
    generation = llm.generate([fewshot_prompt(query.supports, query.words, query.format)], config)[0]
    # the last id is the end mark where a label is a prefix of another one
    return names[generation.ids if generation.ids in names else generation.ids[:-1]]


def masked(llm: FrozenLLM, query: LabelQuery) -> str:
    """Generation under the official code's mask, which exists only when the prompt lists the labels."""
    mask = (
        PositionMask(llm.encode_pieces(choice) for choice in query.choices)
        if query.format.induction
        else None
    )
    return generate_text(llm, query, GenerationConfig(longest_label(llm, query), allowed=mask))


GENERATION_RULES: Mapping[str, GenerationRule] = {
    "generate": generate,
    "constrained": constrained,
    "masked": masked,
}


def generate_text(llm: FrozenLLM, query: LabelQuery, config: GenerationConfig) -> str:
    """The text after the episode's prompt, without outer spaces."""
    prompt = fewshot_prompt(query.supports, query.words, query.format)
    return llm.generate([prompt], config)[0].text.strip()


def longest_label(llm: FrozenLLM, query: LabelQuery) -> int:
    """Number of tokens of the longest label."""
    return max(len(llm.encode_pieces(choice)) for choice in query.choices)

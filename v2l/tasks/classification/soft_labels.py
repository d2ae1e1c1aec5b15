"""soft tokens or words of an image, behind labelled ones ──► a score for each label, by log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from v2l.llm import FrozenLLM
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt
from v2l.prompts.soft import naming_prompt, naming_sentence

Scores = dict[str, float]


def score_names(
    llm: FrozenLLM,
    queries: Sequence[Embeddings | tuple[str, ...]],
    labels: Sequence[str],
    supports: Sequence[tuple[Embeddings, str]] = (),
    batch_size: int = 8,
) -> list[Scores]:
    """For each query log p(naming sentence of a label | labelled images, the query).

    Args:
        llm: a local LLM.
        queries: images to be named, by their soft tokens or by their words.
        labels: names to choose from.
        supports: labelled images in the order of the prompt; none for naming without examples.
        batch_size: prompts in one forward pass.

    Raises:
        V2LError: a prompt is longer than the LLM's context.
    """
    sentences = [Prompt((f" {naming_sentence(label)}",)) for label in labels]
    requests = [(naming_prompt(supports, query), sentences) for query in queries]
    return [
        {label: score.total for label, score in zip(labels, scores, strict=True)}
        for scores in llm.loglikelihood(requests, batch_size)
    ]

"""dialogue ──► several different answers, by any language model; and how reports name that model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from v2l.llm import GenerationConfig
from v2l.llm.base import LanguageModel
from v2l.llm.endpoint import Endpoint
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.dialogue import Dialogue


def sample_answers(
    llm: LanguageModel, dialogue: Dialogue, config: GenerationConfig, count: int, temperature: float
) -> list[str]:
    """Several different answers to one dialogue: first the one of `config`, then sampled ones.

    They do not depend on the batch of images, because each dialogue is sampled alone.

    Raises:
        V2LError: the dialogue is longer than the LLM's context, or the server does not answer.
    """
    answers = llm.write_answers([dialogue], config)
    answers += llm.sample_answers(dialogue, replace(config, temperature=temperature), count - 1)
    return list(dict.fromkeys(answer for answer in answers if answer)) or answers[:1]


def describe_llm(pipeline: Pipeline, endpoint: Endpoint | None) -> dict[str, Any]:
    """The `stack` of a report, which names the server's LLM if a server answers."""
    return pipeline.describe() | (endpoint.describe() if endpoint else {})

"""dialogues ──► answers, written by the frozen LLM of the pipeline or by a server's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from v2l.llm import FrozenLLM, GenerationConfig
from v2l.llm.chat import chat_prompt
from v2l.llm.endpoint import Endpoint
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.dialogue import Dialogue
from v2l.prompts.prompt import Prompt


def answer_dialogues(
    llm: FrozenLLM | Endpoint, dialogues: Sequence[Dialogue], config: GenerationConfig
) -> list[str]:
    """The answer to each dialogue, stripped of the space around it.

    Args:
        llm: who answers: turns where it knows roles and the style wants them, lines otherwise.
        dialogues: what is asked.
        config: how an answer is chosen, and where it stops.

    Raises:
        V2LError: a dialogue is longer than the LLM's context, or the server does not answer.
    """
    if isinstance(llm, Endpoint):
        return [llm.answer(dialogue.turns, config).strip() for dialogue in dialogues]
    return [
        found.text.strip()
        for found in llm.generate([written_for(llm, dialogue) for dialogue in dialogues], config)
    ]


def sample_answers(
    llm: FrozenLLM | Endpoint, dialogue: Dialogue, config: GenerationConfig, count: int, temperature: float
) -> list[str]:
    """Several answers to one dialogue, each once: first the one of `config`, then sampled ones; the same in every batch of images."""
    sampled = replace(config, temperature=temperature)
    answers = answer_dialogues(llm, [dialogue], config)
    if isinstance(llm, Endpoint):
        configs = [replace(sampled, seed=config.seed + number) for number in range(1, count)]
        answers += [answer for each in configs for answer in answer_dialogues(llm, [dialogue], each)]
    else:
        answers += answer_dialogues(llm, [dialogue] * (count - 1), sampled)
    return list(dict.fromkeys(answer for answer in answers if answer)) or answers[:1]


def written_for(llm: FrozenLLM, dialogue: Dialogue) -> Prompt:
    """The prompt of a dialogue as this LLM reads it best."""
    turns = chat_prompt(llm, dialogue.turns) if dialogue.style.turn else None
    return turns or dialogue.prompt


def describe_llm(pipeline: Pipeline, endpoint: Endpoint | None) -> dict[str, Any]:
    """The `stack` of a report, with the server's LLM in the place of the local one when it answers."""
    return pipeline.describe() | (endpoint.describe() if endpoint else {})

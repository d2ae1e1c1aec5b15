"""a dialogue or chat turns ──► the prompt in the form that a local LLM was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from v2l.errors import V2LError
from v2l.llm.vocabulary import Vocabulary
from v2l.prompts.dialogue import Dialogue
from v2l.prompts.prompt import Prompt


def chat_prompt(vocabulary: Vocabulary, turns: Sequence[Mapping[str, str]]) -> Prompt | None:
    """The turns in the tokenizer's chat template, up to where the answer begins; None without a template.

    Args:
        vocabulary: an LLM's tokens.
        turns: `role` (user, assistant) and `content` of each; the last one is the user's.

    Raises:
        V2LError: the template refuses the turns.
    """
    tokenizer = vocabulary.tokenizer
    if not tokenizer.chat_template:
        return None
    try:
        text: Any = tokenizer.apply_chat_template(
            [dict(turn) for turn in turns],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,  # for templates of LLMs that may think first; others do not read it
        )
    except TemplateError as error:
        raise V2LError(
            f"the chat template of {vocabulary.name!r} refuses the turns ({error})",
            "turns as the LLM was trained on, mostly of user and assistant in alternation",
            "other turns, or another --llm",
        ) from error
    # The template writes the start, too, and encoding a prompt adds it again.
    return Prompt((str(text).removeprefix(vocabulary.decode(vocabulary.start_ids)),))


def dialogue_prompt(vocabulary: Vocabulary, dialogue: Dialogue) -> Prompt:
    """The dialogue as chat turns where the LLM has a chat template and the style has turns, else as lines.

    A dialogue with embeddings is always lines, because a chat template takes text only.
    """
    if not dialogue.style.turn or dialogue.prompt.embeddings:
        return dialogue.prompt
    return chat_prompt(vocabulary, dialogue.turns) or dialogue.prompt


def turns_prompt(vocabulary: Vocabulary, turns: Sequence[Mapping[str, str]]) -> Prompt:
    """The turns in the chat template, or line after line for an LLM without one."""
    return chat_prompt(vocabulary, turns) or Prompt(("\n".join(turn["content"] for turn in turns),))

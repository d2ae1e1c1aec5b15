"""turns ──► one prompt in the LLM's own chat format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from v2l.llm.frozen import FrozenLLM
from v2l.prompts.prompt import Prompt


def chat_prompt(llm: FrozenLLM, turns: Sequence[Mapping[str, str]]) -> Prompt | None:
    """The turns as the LLM's tokenizer writes them, up to where its answer begins; None for an LLM that knows no roles.

    Args:
        llm: a frozen LLM.
        turns: `role` (user, assistant) and `content` of each, the user's last.
    """
    if not llm.tokenizer.chat_template:
        return None
    text = llm.tokenizer.apply_chat_template(
        [dict(turn) for turn in turns], tokenize=False, add_generation_prompt=True
    )
    start = llm.decode(llm.start_ids)
    return Prompt((text.removeprefix(start),))  # every prompt is given its start when it is encoded

"""message of a reasoning model ──► thought and answer, in each shape in which servers send the two.

vLLM and Ollama put the thought into `reasoning`; older vLLM, SGLang, llama.cpp and DeepSeek into
`reasoning_content`; Mistral into parts of the content. A server without a reasoning parser leaves it in the
content: `<think>thought</think>answer`, or without the first tag when the chat template has opened it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FIELDS = ("reasoning_content", "reasoning", "thinking")  # where servers put the thought
TAG = r"(?:think|thinking|thought|reasoning)"
OPENED = re.compile(rf"\s*(?:<{TAG}>|\[THINK\])", re.IGNORECASE)
CLOSED = re.compile(rf"(?:</{TAG}>|\[/THINK\])", re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """What a server's LLM wrote.

    Attributes:
        answer: the text after the thought, without space around it; may be empty.
        thought: the text of the thought; empty when there is none, or when the server hides it.
        cut: True when the number of tokens ran out.
    """

    answer: str
    thought: str = ""
    cut: bool = False

    @property
    def is_plain(self) -> bool:
        """True for an answer without a thought."""
        return bool(self.answer) and not self.thought


def read_message(content: Any, fields: Mapping[str, Any], cut: bool) -> Reply:
    """Part the thought from the answer.

    Args:
        content: the message's `content`: text, None, or a list of parts.
        fields: the message's other fields.
        cut: whether the number of tokens ran out (`finish_reason` is "length").

    Raises:
        ValueError: the content is neither text nor parts with a type.
    """
    own = "\n".join(text for name in FIELDS if isinstance(text := fields.get(name), str))
    if isinstance(content, list):
        thoughts, texts = _read_parts(content)
        own, content = "\n".join((own, *thoughts)), "".join(texts)
    if content is not None and not isinstance(content, str):
        raise ValueError(f"the content is of type {type(content).__name__}")
    thought, answer = split_thought(content or "")
    return Reply(answer.strip(), f"{own}\n{thought}".strip(), cut)


def split_thought(content: str) -> tuple[str, str]:
    """Text ──► its thought and its answer; a thought that is opened and never closed leaves no answer."""
    opened = OPENED.match(content)
    rest = content[opened.end() :] if opened else content
    closed = CLOSED.search(rest)
    if closed:
        return rest[: closed.start()], rest[closed.end() :]
    return (rest, "") if opened else ("", content)


def _read_parts(parts: list[Any]) -> tuple[list[str], list[str]]:
    """The texts of the thoughts and of the answer in a content of several parts."""
    if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in parts):
        raise ValueError("the content holds parts without a type")
    thoughts = [str(part) for part in parts if part["type"] in ("thinking", "reasoning")]
    texts = [part["text"] for part in parts if part["type"] == "text" and isinstance(part.get("text"), str)]
    return thoughts, texts

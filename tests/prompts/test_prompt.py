"""A prompt is its pieces."""

from __future__ import annotations

from v2l.prompts import Prompt


def test_prompts_add_and_read_as_text() -> None:
    prompt = Prompt(("a ",)) + Prompt(((1, 2), " c"))
    assert prompt.pieces == ("a ", (1, 2), " c")
    assert prompt.text(lambda ids: "".join(f"<{i}>" for i in ids)) == "a <1><2> c"

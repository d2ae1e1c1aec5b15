"""The prompt of a whole map equals its golden file, and says behind which pieces the answers stand."""

from __future__ import annotations

import os
from pathlib import Path

from v2l.prompts.whole_map import map_prompt

GOLDEN = Path(__file__).parent / "golden" / "whole_map.txt"
SEEN = [11, 12, 13, None, 15, None]  # three cells a row


def test_the_prompt_equals_its_golden_file() -> None:
    text = map_prompt(SEEN, {1: 92, 3: 93, 5: 95}, 3).prompt.text(lambda ids: "".join(f"<{i}>" for i in ids))
    if os.environ.get("V2L_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_answers_stand_behind_what_is_expected() -> None:
    prompt, answers = map_prompt(SEEN, {5: 95, 1: 92, 3: 93}, 3)
    assert [prompt.pieces[number] for number in answers] == [(92,), (93,), (95,)]
    assert sum(isinstance(piece, tuple) for piece in prompt.pieces) == 4 + 3  # seen, and expected

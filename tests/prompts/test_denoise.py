"""Denoising prompts equal their golden files; visual tokens stay ids."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from v2l.errors import V2LError
from v2l.prompts.denoise import Window, denoise_examples, denoise_prompt, denoise_query

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = [Window((11, 12, 13), (14, 15)), Window((21, 22, 23), (24, 25))]


@pytest.mark.parametrize("wording", ["paper", "official", "tuned"])
def test_the_prompt_equals_its_golden_file(wording: str) -> None:
    path = GOLDEN / f"denoise_{wording}.txt"
    text = denoise_prompt(EXAMPLES, (31, 32, 33), 2, wording).text(lambda ids: "".join(f"<{i}>" for i in ids))
    if os.environ.get("V2L_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_visual_tokens_are_pieces_of_ids() -> None:
    pieces = denoise_prompt(EXAMPLES, (31, 32, 33), 2).pieces
    assert [piece for piece in pieces if not isinstance(piece, str)] == [
        (11, 12, 13),
        (14, 15),
        (21, 22, 23),
        (24, 25),
        (31, 32, 33),
    ]


@pytest.mark.parametrize("wording", ["paper", "tuned"])
def test_no_piece_ends_in_a_lone_space(wording: str) -> None:
    assert not any(
        piece.endswith(" ")
        for piece in denoise_prompt(EXAMPLES, (31,), 2, wording).pieces
        if isinstance(piece, str)
    )


def test_examples_and_query_make_the_whole() -> None:
    assert denoise_examples(EXAMPLES, 2) + denoise_query((31,)) == denoise_prompt(EXAMPLES, (31,), 2)


def test_without_examples_the_query_stands_alone() -> None:
    assert denoise_prompt([], (31,), 3).pieces[1:] == denoise_query((31,)).pieces


def test_an_unknown_wording_names_the_known_ones() -> None:
    with pytest.raises(V2LError, match="paper, official, tuned"):
        denoise_query((1,), "haiku")

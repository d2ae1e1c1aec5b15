"""Global options go before or after the command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2l.cli.options import FLAGS, WITH_VALUE, globals_first


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["words", "a.jpg", "--seed", "3"], ["--seed", "3", "words", "a.jpg"]),
        (["words", "--offline", "a.jpg", "--device=cpu"], ["--offline", "--device=cpu", "words", "a.jpg"]),
        (["--config", "small", "train", "photos"], ["--config", "small", "train", "photos"]),
        (["words", "--", "--seed", "3"], ["words", "--", "--seed", "3"]),
        (["words", "a.jpg", "--seed"], ["--seed", "words", "a.jpg"]),
    ],
)
def test_global_options_come_first(typed: list[str], read: list[str]) -> None:
    assert globals_first(typed) == read


@given(st.lists(st.sampled_from(["words", "a.jpg", "--json", "-o", "--", *WITH_VALUE, *FLAGS, "--seed=1"])))
def test_nothing_is_lost_and_twice_is_once(args: list[str]) -> None:
    read = globals_first(args)
    assert sorted(read) == sorted(args)
    assert globals_first(read) == read

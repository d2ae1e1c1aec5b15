"""A V2LError is one line that says what came, what is allowed and what to type, also after a worker
process."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2l.errors import V2LError


def refuse(value: str) -> None:
    raise V2LError(f"got {value}", "another", "v2l doctor")


def test_it_reads_got_then_allowed_then_run() -> None:
    assert str(V2LError("got 3", "1 or 2", "--count 2")) == "got 3; allowed: 1 or 2; try: --count 2"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (V2LError("got 3"), "got 3"),
        (V2LError("got 3", run="--count 2"), "got 3; try: --count 2"),
        (V2LError("got 3", "1 or 2"), "got 3; allowed: 1 or 2"),
    ],
)
def test_what_is_not_said_leaves_no_trace(error: V2LError, line: str) -> None:
    assert str(error) == line


@given(st.text(), st.text(), st.text())
def test_it_is_one_line_whatever_it_holds(got: str, allowed: str, run: str) -> None:
    assert len(str(V2LError(got, allowed, run)).splitlines()) <= 1


def test_it_survives_pickling_with_its_parts() -> None:
    error = pickle.loads(pickle.dumps(V2LError("got\n3", "1 or 2", "--count 2")))
    assert (error.got, error.allowed, error.run) == ("got\n3", "1 or 2", "--count 2")
    assert str(error) == "got 3; allowed: 1 or 2; try: --count 2"


def test_it_arrives_from_a_worker_process() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool,
        pytest.raises(V2LError, match=r"^got mask; allowed: another; try: v2l doctor$"),
    ):
        pool.submit(refuse, "mask").result()

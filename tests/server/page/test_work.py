"""Events of the page: a sentence for each error, and a stop that reaches running work."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest

from v2l.errors import V2LError
from v2l.server.page.work import MOST_STOPS, StoppedError, Stops, sentence


def request(session: str) -> gr.Request:
    return SimpleNamespace(session_hash=session)


def silent_bar(*_, **__) -> None:
    pass


def test_an_error_is_one_sentence_without_a_command_of_the_terminal():
    error = V2LError("the mask is empty", "white pixels", "--centre")
    assert sentence(error) == "The mask is empty (allowed: white pixels)."
    assert sentence(V2LError("two\nlines.")) == "Two lines."


def test_stop_ends_the_work_of_its_own_session_at_the_next_report():
    stops = Stops()
    report, other = (stops.reporter(request(name), silent_bar) for name in ("a", "b"))
    report("windows", 1, 3)
    stops.ask(request("a"))
    other("windows", 1, 3)
    with pytest.raises(StoppedError):
        report("windows", 2, 3)


def test_the_next_work_of_a_stopped_session_runs():
    stops = Stops()
    stops.ask(request("a"))
    seen = []
    stops.reporter(request("a"), lambda *bar, **more: seen.append(bar))("windows", 1, 3)
    assert len(seen) == 1, "the work went on and reported"


def test_few_stops_are_remembered():
    stops = Stops()
    for number in range(MOST_STOPS + 5):
        stops.ask(request(str(number)))
    assert len(stops.sessions) == MOST_STOPS

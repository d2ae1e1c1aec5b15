"""a handler's plain function ──► an event of the page: queued, stoppable, with progress and errors in words.

All work of the model goes through one queue, one piece of work at a time, because two forward passes side by
side are slower than one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import gradio as gr

from v2l.errors import V2LError
from v2l.progress import Progress

MOST_STOPS = 1000  # that are remembered
MODEL = "model"  # events with this id wait for each other
Handler = Callable[..., Any]
"""Called as `handler(report, *values)`; gives the values of the outputs."""


class StoppedError(Exception):
    """The user pressed Stop."""


@dataclass
class Stops:
    """The browser sessions whose running work was asked to stop."""

    sessions: dict[str | None, None] = field(default_factory=dict)  # in order

    def ask(self, request: gr.Request) -> None:
        """Stop what this session runs, at its next report."""
        self.sessions[request.session_hash] = None
        while len(self.sessions) > MOST_STOPS:  # every page that is closed asks, too
            del self.sessions[next(iter(self.sessions))]

    def reporter(self, request: gr.Request, progress: gr.Progress) -> Progress:
        """Reports of long work: shown by the page, and the place where work stops."""
        self.sessions.pop(request.session_hash, None)

        def report(step: str, done: int, total: int) -> None:
            if request.session_hash in self.sessions:
                raise StoppedError
            progress((done, total), desc=step, unit="")

        return report


@dataclass(frozen=True)
class Event:
    """What a piece of work reads and writes.

    Attributes:
        inputs: components whose values the handler gets.
        outputs: components that the handler fills; the page shows its progress on them.
        stop: the button that stops the work, or None for work that is short.
    """

    inputs: Sequence[Any]
    outputs: Sequence[Any]
    stop: gr.Button | None = None


def run_on(stops: Stops, triggers: Sequence[Any], handler: Handler, event: Event) -> None:
    """Run a handler when one of the triggers fires.

    Args:
        stops: of this page.
        triggers: such as `button.click`.
        handler: raises `V2LError` for what the user can repair.
        event: inputs, outputs, and the button that stops it.
    """

    def run(request: gr.Request, progress: gr.Progress = gr.Progress(), *values: Any) -> Any:  # noqa: B008
        report = stops.reporter(request, progress)
        try:
            return handler(report, *values)
        except StoppedError:
            raise gr.Error("Stopped.", duration=3, title="", print_exception=False) from None
        except V2LError as error:
            raise gr.Error(escape(sentence(error)), title="", print_exception=False) from error

    running = gr.on(
        triggers,
        run,
        list(event.inputs),
        list(event.outputs),
        concurrency_id=MODEL,
        concurrency_limit=1,
        api_visibility="private",
    )
    if event.stop is not None:
        # `cancels` takes waiting work out of the queue; `ask` ends work that runs already.
        event.stop.click(stops.ask, cancels=[running], queue=False, api_visibility="private")


def sentence(error: V2LError) -> str:
    """What came and what is allowed, without the command of a terminal."""
    text = f"{error.got} (allowed: {error.allowed})" if error.allowed else error.got
    text = " ".join(text.split())
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."

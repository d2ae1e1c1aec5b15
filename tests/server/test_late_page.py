"""The page is built while the server answers; who comes early waits, and a failure is one line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from v2l.server.late_page import LatePage


def server_with(page: LatePage) -> TestClient:
    """A server with one path of its own and a page at its root."""

    @asynccontextmanager
    async def lifespan(_: FastAPI):  # type: ignore[no-untyped-def]
        async with page.opened():
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_route("/healthz", lambda _: PlainTextResponse("ready"))
    app.mount("/", page)
    return TestClient(app)


def page_after(seen: list[str], gate: threading.Event) -> Callable[[], FastAPI]:
    """Builds a page once the gate is open; the page notes when it starts and ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI):  # type: ignore[no-untyped-def]
        seen.append("started")
        yield
        seen.append("ended")

    def build() -> FastAPI:
        assert gate.wait(30)
        app = FastAPI(lifespan=lifespan)
        app.add_route("/", lambda _: PlainTextResponse("the page"))
        return app

    return build


def test_the_server_answers_before_its_page_and_the_page_waits() -> None:
    seen: list[str] = []
    gate = threading.Event()
    page = LatePage(page_after(seen, gate), lambda: seen.append("built"))
    with server_with(page) as client:
        assert client.get("/healthz").text == "ready"
        assert seen == []
        threading.Timer(0.2, gate.set).start()
        assert client.get("/").text == "the page"
        assert seen == ["started", "built"]
    assert seen == ["started", "built", "ended"]


def test_a_page_that_fails_is_logged_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def build() -> FastAPI:
        raise ValueError("a secret")

    with server_with(LatePage(build, lambda: seen.append("built"))) as client:
        answer = client.get("/")
        assert answer.status_code == 503
        assert answer.text == "the page could not be built"
        assert client.get("/healthz").text == "ready"
    assert seen == ["built"]
    assert "ValueError at test_late_page.py" in caplog.text
    assert "secret" not in caplog.text

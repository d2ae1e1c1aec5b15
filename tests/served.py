"""a pipeline ──► a real `v2l serve` on a loopback port, in a thread, until the block ends."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from v2l.llm.endpoint import Endpoint
from v2l.pipeline.pipeline import Pipeline
from v2l.server.app import create_app
from v2l.server.metrics import Metrics
from v2l.server.run import listen, make_server
from v2l.server.settings import Limits, ServerSettings
from v2l.server.upstream import Upstream


@contextmanager
def served(
    pipeline: Pipeline,
    settings: ServerSettings | None = None,
    upstream: str | None = None,
    upstream_model: str | None = None,
) -> Iterator[str]:
    """Its address, without the version."""
    settings = settings or ServerSettings(port=0)
    answers = Upstream(Endpoint(upstream, upstream_model), settings.limits, Metrics()) if upstream else None
    app = create_app(pipeline, settings, answers)
    app.state.service.warm_up()
    listener, server = listen(settings), make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started, 120)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(120)


def wait_until(reached: Callable[[], bool], seconds: float) -> None:
    """Return when something is reached, and fail when it is not within so many seconds."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def local_settings(api_key: str | None = None, **limits: Any) -> ServerSettings:
    """Settings with other limits, on a free port."""
    return ServerSettings(port=0, api_key=api_key, limits=Limits(**limits))


def data_url(path: Path) -> str:
    """An image file as a `data:` URL."""
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"


def image_part(url: str, detail: str = "auto") -> dict[str, Any]:
    """An image of a chat."""
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def text_part(text: str) -> dict[str, Any]:
    """A text of a chat."""
    return {"type": "text", "text": text}


def chat(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A request with one turn of the user."""
    return {"model": "v2l", "messages": [{"role": "user", "content": list(parts)}], **fields}

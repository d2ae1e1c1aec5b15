"""answers ──► a server on this machine that speaks OpenAI's chat protocol, or something else when that is asked of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[dict[str, Any]], tuple[int, str, str]]  # request ──► status, content type, body


def chat(text: Any, model: str = "tiny-chat") -> str:
    """A completion as OpenAI's protocol has it."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 0, "model": model, "choices": [choice]}
    )


def saying(*texts: str) -> Reply:
    """Answer with these texts in turn, the last one for ever."""
    left = list(texts)
    return lambda request: (200, "application/json", chat(left.pop(0) if len(left) > 1 else left[0]))


class TinyServer(ThreadingHTTPServer):
    """Keeps every request."""

    daemon_threads = True

    def __init__(self, reply: Reply, models: tuple[str, ...], delay: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.models, self.delay = reply, models, delay
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    """GET /v1/models, POST /v1/chat/completions."""

    server: TinyServer

    def do_GET(self) -> None:
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self.server.models
        ]
        self.send(200, "application/json", json.dumps({"object": "list", "data": listed}))

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.server.keys.append(self.headers["Authorization"])
        time.sleep(self.server.delay)
        self.send(*self.server.reply(request))

    def send(self, status: int, kind: str, body: str) -> None:
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # the client has given up waiting
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Nothing on standard error."""


@contextmanager
def tiny_server(
    reply: Reply, models: tuple[str, ...] = ("tiny-chat",), delay: float = 0.0
) -> Iterator[TinyServer]:
    """Serve in a thread until the block ends."""
    with TinyServer(reply, models, delay) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

"""replies ──► a server on this machine that speaks OpenAI's chat protocol, or breaks it in a chosen way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = "application/json"
# request ──► status, content type, body, and further headers if there are any
Reply = Callable[[dict[str, Any]], tuple[int, str, str] | tuple[int, str, str, Mapping[str, str]]]
DROPPED: Mapping[str, str] = {"Content-Length": "9999"}  # the connection ends before the body does


def chat(text: Any, model: str = "tiny-chat", finish: str = "stop", **fields: Any) -> str:
    """A completion as OpenAI's protocol has it; `fields` are further ones of the message."""
    message = {"role": "assistant", "content": text, **fields}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 0, "model": model, "choices": [choice]}
    )


def saying(*texts: str) -> Reply:
    """Answer with these texts in turn, the last one for ever."""
    return in_turn(*((200, JSON, chat(text)) for text in texts))


def in_turn(*replies: Any) -> Reply:
    """Give these replies in turn, the last one for ever."""
    left = list(replies)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def refusal(status: int, words: str, **headers: str) -> tuple[int, str, str, Mapping[str, str]]:
    """A refusal as OpenAI's protocol has it; an underscore in a header's name is a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, JSON, json.dumps({"error": {"message": words}}), named


class TinyServer(ThreadingHTTPServer):
    """Keeps every request."""

    daemon_threads = True

    def __init__(self, reply: Reply, models: tuple[str, ...], delay: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.models, self.delay = reply, models, delay
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.stumbles: list[
            tuple[int, str, str, Mapping[str, str]]
        ] = []  # what the list of models gives first
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    """GET /v1/models, POST /v1/chat/completions."""

    server: TinyServer

    def do_GET(self) -> None:
        if self.server.stumbles:
            self.send(*self.server.stumbles.pop(0))
            return
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self.server.models
        ]
        self.send(200, JSON, json.dumps({"object": "list", "data": listed}))

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.server.keys.append(self.headers["Authorization"])
        time.sleep(self.server.delay)
        self.send(*self.server.reply(request))

    def send(self, status: int, kind: str, body: str, headers: Mapping[str, str] | None = None) -> None:
        content = body.encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # the client stopped waiting
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

"""Images from addresses: only from named hosts, never from a private address."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from served import chat, image_part
from starlette.testclient import TestClient

from v2l.pipeline.pipeline import Pipeline
from v2l.server import remote
from v2l.server.app import create_app
from v2l.server.errors import ApiError
from v2l.server.images import FETCHES
from v2l.server.remote import RemoteImages, is_public
from v2l.server.settings import Limits, ServerSettings


class Handler(BaseHTTPRequestHandler):
    """Serves one photograph, redirects, and bodies without an end."""

    photograph: bytes
    hosts: list[str]

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        place = self.path.removeprefix("/to/")
        if self.path == "/photo.jpg":
            self.send(200, self.photograph)
        elif self.path == "/slow":
            time.sleep(1)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1000):
                    self.wfile.write(bytes(10_000))
            except OSError:
                pass
        elif self.path == "/nowhere":
            self.send(302, b"")
        elif place != self.path:
            self.send(302, b"", Location=place)
        else:
            self.send(404, b"")

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""


@pytest.fixture(scope="module")
def port(samples: Path) -> Iterator[int]:
    handler = type("Photograph", (Handler,), {})
    handler.photograph, handler.hosts = (samples / "hat" / "straw.jpg").read_bytes(), []
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small address book in the place of the network's."""
    book = {
        "photos.example": ["127.0.0.1"],
        "inside.example": ["10.0.0.1"],
        "both.example": ["93.184.216.34", "169.254.169.254"],
        "six.example": ["::ffff:127.0.0.1"],
    }

    async def resolve(host: str, port: int) -> list[str]:
        if host not in book:
            raise OSError("no such name")
        return book[host]

    monkeypatch.setattr(remote, "resolve", resolve)


def fetch(url: str, port: int, hosts: tuple[str, ...] = (), seconds: float = 5.0, **options: Any) -> bytes:
    named = hosts or (f"photos.example:{port}",)
    return asyncio.run(RemoteImages(named, 100_000, seconds, **options).fetch(url))


def loopback_is_public(address: str) -> bool:
    """In the place of `is_public`, since tests have loopback only."""
    return address == "127.0.0.1"


def test_a_photograph_of_a_named_host_is_fetched(port: int, samples: Path) -> None:
    for path in ("/photo.jpg", "/to//photo.jpg"):
        found = fetch(f"http://photos.example:{port}{path}", port, is_allowed=loopback_is_public)
        assert found == (samples / "hat" / "straw.jpg").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/missing",
        "/endless",
        "/slow",
        "/to/http://other.example/photo.jpg",
        "/to/file:///etc/passwd",
        "/to/http://127.0.0.1/photo.jpg",
        "/to//to//to//to//to//photo.jpg",
    ],
)
def test_what_is_behind_an_address_may_be_refused(port: int, path: str) -> None:
    with pytest.raises(ApiError) as refusal:
        fetch(f"http://photos.example:{port}{path}", port, seconds=0.5, is_allowed=loopback_is_public)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/a.jpg",
        "http://photos.example.evil.example/a.jpg",
        "http://photos.example:1/a.jpg",
        "http://me:secret@inside.example/a.jpg",
        "ftp://inside.example/a.jpg",
        "http://inside.example/a.jpg",
        "http://both.example/a.jpg",
        "http://six.example/a.jpg",
        "http://unknown.example/a.jpg",
        "http://[::1]/a.jpg",
        "http:///a.jpg",
        "http://\x00/",
        "http://photos.example:99999/",
    ],
)
def test_addresses_that_are_not_fetched(port: int, url: str) -> None:
    hosts = ("photos.example", "inside.example", "both.example", "six.example", "unknown.example")
    with pytest.raises(ApiError) as refusal:
        fetch(url, port, hosts)
    assert refusal.value.status == 400
    assert "secret" not in refusal.value.message


def test_a_redirect_to_a_private_address_is_refused(port: int) -> None:
    """Both hosts are named, and the first is allowed; the second has a private address."""
    hosts = (f"photos.example:{port}", "inside.example")
    with pytest.raises(ApiError, match="not public"):
        fetch(
            f"http://photos.example:{port}/to/http://inside.example/a.jpg",
            port,
            hosts,
            is_allowed=loopback_is_public,
        )


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("64:ff9b:1::a00:1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_a_redirect_to_nowhere_is_a_refusal(port: int) -> None:
    with pytest.raises(ApiError, match="answered 302"):
        fetch(f"http://photos.example:{port}/nowhere", port, is_allowed=loopback_is_public)


def test_few_images_are_fetched_at_once(
    long_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, samples: Path
) -> None:
    fetching, most = 0, 0

    async def slowly(_: RemoteImages, url: str) -> bytes:
        nonlocal fetching, most
        fetching += 1
        most = max(most, fetching)
        await asyncio.sleep(0.01)
        fetching -= 1
        return (samples / "hat" / "straw.jpg").read_bytes()

    monkeypatch.setattr(RemoteImages, "fetch", slowly)
    settings = ServerSettings(allow_hosts=("photos.example",), limits=Limits(images=FETCHES + 4))
    with TestClient(create_app(long_pipeline, settings), base_url="http://127.0.0.1") as client:
        parts = [image_part("http://photos.example/a.jpg")] * (FETCHES + 4)
        answer = client.post("/v1/chat/completions", json=chat(*parts, max_tokens=1))
    assert answer.status_code == 200
    assert most == FETCHES


def test_the_server_fetches_from_named_hosts_only(long_pipeline: Pipeline) -> None:
    settings = ServerSettings(allow_hosts=("inside.example",))
    with TestClient(create_app(long_pipeline, settings), base_url="http://127.0.0.1") as client:
        for url in ("http://inside.example/a.jpg", "http://other.example/a.jpg"):
            assert client.post("/v1/chat/completions", json=chat(image_part(url))).status_code == 400

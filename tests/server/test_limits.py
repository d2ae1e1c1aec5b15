"""Limits: what is too large, too much, too slow or malformed is refused in OpenAI's format."""

from __future__ import annotations

import base64
import json
import logging
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from served import chat, data_url, image_part, local_settings, served, text_part
from starlette.testclient import TestClient

from v2l.pipeline.pipeline import Pipeline
from v2l.server.app import create_app
from v2l.server.images import ImageReader

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG whose head states a size; its pixels are `data`, compressed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def as_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def leaping_bmp() -> bytes:
    """A run-length BMP of 60 bytes and a palette, which skips 255 rows of a million pixels in one step."""
    head = struct.pack("<IiiHHIIiiII", 40, 1_000_000, 25, 1, 8, 1, 4, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1082, 0, 0, 1078) + head + bytes(1024) + b"\x00\x02\x00\xff"


def tiled_tiff(tiles: int) -> bytes:
    """A TIFF with a table of very many tiles."""
    sides = [(256, 4, 1, 5000), (257, 4, 1, 5000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    table = [(322, 4, 1, 1), (323, 4, 1, 1), (324, 4, tiles, 122), (325, 4, tiles, 122)]
    entries = b"".join(struct.pack("<HHII", *entry) for entry in sides + table)
    return b"II*\x00" + struct.pack("<IH", 8, 9) + entries + bytes(4) + struct.pack("<I", 8) * tiles


@pytest.mark.parametrize(
    "url",
    [
        as_url(leaping_bmp()),
        as_url(tiled_tiff(10)),
        as_url(b"P3 1 1 255\n1 1 1"),
        as_url(png(30_000, 30_000, bytes(3751 * 3000))),  # 900 million pixels
        as_url(png(5_001, 5_000)),
        as_url(png(2**31 - 1, 2**31 - 1)),
        as_url(b""),
        as_url(b"GIF89a"),
        as_url(b"\x00" * 1000),
        "data:image/png;base64,%%%",
        "data:image/png;base64,é",
        "data:image/png,abc",
        "data:text/html;base64,QUJD",
        "data:",
        "http://127.0.0.1/a.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "\x00",
    ],
    ids=lambda url: url[:30],
)
def test_a_bad_image_is_refused(client: TestClient, url: str) -> None:
    answer = client.post(CHAT, json=chat(image_part(url)))
    assert answer.status_code == 400, answer.text
    assert "/etc" not in answer.text


def test_a_cut_image_is_refused(client: TestClient, samples: Path) -> None:
    half = (samples / "hat" / "straw.jpg").read_bytes()[:3000]
    assert client.post(CHAT, json=chat(image_part(as_url(half)))).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"[" * 50_000,
        b'{"model": "v2l", "messages": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        b'{"model": "v2l", "messages": [' + b"{}," * 200_000 + b"{}]}",
        b"\xff\xfe\x00",
        b'{"model": "v2l", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "v2l", "messages": [{"role": "user", "content": "hi"}], "temperature": NaN}',
        b'{"model": "v2l", "messages": [{"role": "user", "content": "hi"}], "seed": 1e999}',
        b'{"model": "v2l", "messages": [{"role": "user", "content": "hi"}], "seed": ' + b"9" * 5000 + b"}",
        b'{"model": "\\u0000", "messages": [{"role": "user", "content": "hi"}]}',
        b'{"model": "v2l", "messages": [{"role": "root", "content": "hi"}]}',
        b'{"model": "v2l", "messages": [{"role": "user", "content": [{"type": "audio"}]}]}',
        b'{"model": "v2l", "messages": [{"role": "user", "content": {"a": 1}}]}',
        b'{"model": "v2l", "messages": [{"role": "user", "content": "hi"}], "\\ud800": 1}',
    ],
    ids=lambda body: body[:60].decode("latin-1"),
)
def test_a_malformed_body_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post(CHAT, content=body, headers=JSON)
    assert 400 <= answer.status_code < 500, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_null_bytes_and_strange_characters_are_text(client: TestClient) -> None:
    answer = client.post(CHAT, json=chat(text_part("a\x00b <|end|> \u202e \U0010ffff"), max_tokens=1))
    assert answer.status_code == 200


@pytest.mark.parametrize("fields", [{"temperature": 1e-308}, {"top_p": 1e-300}, {"seed": -(2**63)}])
def test_extreme_numbers_are_no_fault(client: TestClient, fields: dict[str, float]) -> None:
    body = chat(text_part("hi"), **{"max_tokens": 2, "temperature": 1, **fields})
    assert client.post(CHAT, json=body).status_code == 200


def test_the_number_of_values_is_counted_whatever_the_case_of_the_type(client: TestClient) -> None:
    body = b'{"model": "v2l", "messages": [' + b"{}," * 200_000 + b"{}]}"
    for kind in ("application/JSON", "application/vnd.x+json"):
        assert client.post(CHAT, content=body, headers={"Content-Type": kind}).status_code == 413


def test_json_must_be_sent_as_json(client: TestClient) -> None:
    body = json.dumps(chat(text_part("hi")))
    assert client.post(CHAT, content=body, headers={"Content-Type": "text/plain"}).status_code == 400


def test_unknown_paths_and_methods_have_the_same_format(client: TestClient) -> None:
    for answer in (client.get("/v1/nothing"), client.put(CHAT), client.get("/v1/%00")):
        assert answer.status_code in (404, 405)
        assert answer.json()["error"]["message"]


def test_too_much_in_one_request(long_pipeline: Pipeline, straw: str) -> None:
    settings = local_settings(body_bytes=200_000, images=2, messages=3, text_characters=100)
    with TestClient(create_app(long_pipeline, settings), base_url="http://127.0.0.1") as client:
        large = client.post(CHAT, content=b" " * 200_001, headers=JSON)
        claimed = client.post(CHAT, content=b"{}", headers={**JSON, "Content-Length": "999999999"})
        pieces = client.post(CHAT, content=iter([b" " * 150_000, b" " * 150_000]), headers=JSON)
        assert [large.status_code, claimed.status_code, pieces.status_code] == [413, 413, 413]
        assert client.post(CHAT, json=chat(*[image_part(straw)] * 3)).status_code == 400
        assert client.post(CHAT, json=chat(text_part("a" * 101))).status_code == 400
        turns = [{"role": "user", "content": "a"}] * 4
        assert client.post(CHAT, json={"model": "v2l", "messages": turns}).status_code == 400


@pytest.fixture(scope="module")
def small(long_pipeline: Pipeline) -> Iterator[str]:
    """A server with room for one request, and little patience."""
    with served(
        long_pipeline,
        local_settings(
            requests=1, header_seconds=1, body_seconds=1, read_seconds=1, request_seconds=20, connections=8
        ),
    ) as address:
        yield address


def test_more_requests_than_allowed_get_429_with_a_time(small: str) -> None:
    long = chat(text_part("go on"), max_tokens=400, temperature=1)

    def post(_: int) -> httpx.Response:
        return httpx.post(small + CHAT, json=long, timeout=60)

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(post, range(4)))
    assert {answer.status_code for answer in answers} == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"


def connect(address: str) -> socket.socket:
    parts = urlsplit(address)
    return socket.create_connection(("127.0.0.1", parts.port), timeout=10)


def test_slow_clients_are_cut_off(small: str) -> None:
    with connect(small) as silent, connect(small) as slow:
        slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        assert b" 408 " in slow.recv(100)
        assert silent.recv(100) == b""
    with connect(small) as second:  # a whole request, then half a head
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b""
        while b'"ready"}' not in answer:
            answer += second.recv(1000)
        second.sendall(b"GET /healthz HT")
        assert second.recv(100) == b""


def cut_off_after(connection: socket.socket, request: bytes) -> bool:
    """Whether the server ends a connection on which requests are sent and no answer is read."""
    connection.settimeout(30)  # a busy machine is slow
    try:
        for _ in range(100):
            connection.sendall(request * 100)
            time.sleep(0.05)
    except TimeoutError:  # its buffer is full, and it waits for ever
        return False
    except OSError:
        return True
    return False


def test_a_client_that_does_not_read_is_cut_off(small: str) -> None:
    with connect(small) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert cut_off_after(deaf, b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")


def test_a_slow_body_to_the_page_is_cut_off(small: str) -> None:
    with connect(small) as slow:
        head = b"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
        slow.sendall(head)
        assert b" 408 " in slow.recv(100)


def test_too_many_connections_are_closed(small: str) -> None:
    opened = [connect(small) for _ in range(12)]
    try:
        closed = [connection for connection in opened[9:] if connection.recv(1) == b""]
        assert closed
    finally:
        for connection in opened:
            connection.close()


def test_a_client_that_leaves_ends_its_answer(small: str) -> None:
    body = chat(text_part("go on"), max_tokens=1000, temperature=1, stream=True)
    with httpx.stream("POST", small + CHAT, json=body, timeout=60) as answer:
        next(answer.iter_lines())
    # There is room for one request only: the next one is served as soon as the first has been cancelled.
    for _ in range(100):
        answer = httpx.post(small + CHAT, json=chat(text_part("hi"), max_tokens=1), timeout=60)
        if answer.status_code == 200:
            break
        time.sleep(0.05)
    assert answer.status_code == 200
    page = httpx.get(small + "/metrics").text
    assert 'status="499"' in page or "v2l_requests_under_way 0.0" in page


def test_a_fault_is_500_without_its_text_anywhere(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: ImageReader, images: object) -> None:
        raise RuntimeError("secret text of a request")

    monkeypatch.setattr(ImageReader, "read", fail)
    with caplog.at_level(logging.INFO):
        answer = client.post(CHAT, json=chat(text_part("my prompt")))
    assert answer.status_code == 500
    assert "secret" not in answer.text + caplog.text
    assert "my prompt" not in caplog.text
    assert "RuntimeError at test_limits.py" in caplog.text


def test_logs_hold_no_text_no_image_and_no_key(
    client: TestClient, samples: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        request = chat(image_part(data_url(samples / "hat" / "straw.jpg")), text_part("private words"))
        client.post(f"{CHAT}?key=hidden", json=request, headers={"Authorization": "Bearer hidden"})
    lines = [record.getMessage() for record in caplog.records if record.name == "v2l.server"]
    assert any("POST /v1/chat/completions 200" in line for line in lines)
    assert not any(text in line for line in lines for text in ("private", "hidden", "base64"))

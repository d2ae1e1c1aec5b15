"""Hostile requests ──► a count of statuses: how many of them were a fault of the server?

Starts `v2l serve` as a process of its own on loopback, sends it bounded numbers of malformed, oversized and slow
requests from a seeded generator, and checks after each thousand that it answers a good request. Nothing leaves
this machine.

    python benchmarks/server_hostile.py --requests 10000
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import socket
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator

import httpx
from server_process import ServerProcess, photograph_url

CHAT, EMBEDDINGS, EDITS = "/v1/chat/completions", "/v1/embeddings", "/v1/images/edits"
JSON = {"Content-Type": "application/json"}
Request = tuple[str, str, bytes, dict[str, str]]  # method, path, body, headers


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG whose head states a size; its pixels are `data`, compressed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    idat = chunk(b"IDAT", zlib.compress(data, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + idat + chunk(b"IEND", b"")


def chat(url: str, text: str = "hi", **fields: object) -> bytes:
    """A chat with one image."""
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    turns = [{"role": "user", "content": parts}]
    return json.dumps({"model": "v2l", "messages": turns, "max_tokens": 1, **fields}).encode()


def data(content: bytes) -> str:
    """Bytes as a `data:` URL."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def bomb(chance: random.Random) -> Request:
    """A small file that states, or unpacks to, very many pixels."""
    side = chance.choice([5_001, 20_000, 65_535, 2**31 - 1])
    return "POST", CHAT, chat(data(png(side, side, bytes(chance.randrange(100_000))))), JSON


def wrong_base64(chance: random.Random) -> Request:
    """A `data:` URL that holds no base64, or no image."""
    letters = "".join(chance.choices("ABCabc012+/=%\x00é ", k=chance.randrange(200)))
    head = chance.choice(
        ["data:image/png;base64,", "data:image/png,", "data:;base64,", "data:text/html;base64,"]
    )
    return "POST", CHAT, chat(head + letters), JSON


def damaged_image(photograph: bytes) -> Callable[[random.Random], Request]:
    """A photograph with some bytes changed or cut off."""

    def make(chance: random.Random) -> Request:
        content = bytearray(photograph[: chance.randrange(len(photograph))])
        for _ in range(chance.randrange(20)):
            if content:
                content[chance.randrange(len(content))] = chance.randrange(256)
        return "POST", chance.choice([CHAT, EMBEDDINGS]), chat(data(bytes(content))), JSON

    return make


def nested(chance: random.Random) -> Request:
    """JSON of great depth, or of very many values."""
    depth = chance.choice([100, 990, 5_000, 50_000])
    inner = chance.choice([b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth])
    many = b"[" + b"{}," * chance.choice([10, 30_000, 300_000]) + b"{}]"
    body = b'{"model":"v2l","messages":' + chance.choice([inner, many]) + b"}"
    return "POST", chance.choice([CHAT, EMBEDDINGS, "/v1/completions"]), body, JSON


def strange_text(chance: random.Random) -> Request:
    """Null bytes, halves of characters, special tokens, numbers without an end."""
    text = "".join(
        chance.choices(["\x00", "\ud800", "\udfff", "<|im_end|>", "a", "\u202e", "\U0010ffff"], k=20)
    )
    fields = chance.choice(
        [
            {"temperature": 1e308},
            {"seed": 2**70},
            {"max_tokens": -1},
            {"stop": ["\x00"]},
            {"top_p": 0},
            {"n": "1"},
        ]
    )
    body = json.dumps(
        {"model": "v2l", "messages": [{"role": "user", "content": text}], "max_tokens": 1, **fields}
    )
    return (
        "POST",
        CHAT,
        body.replace("1e+308", chance.choice(["NaN", "1e999", "Infinity", "1e308"])).encode(),
        JSON,
    )


def noise(chance: random.Random) -> Request:
    """Bytes of any kind, to any path, by any method."""
    path = chance.choice(
        [CHAT, EMBEDDINGS, EDITS, "/v1/models/%00", "/v1/../../etc/passwd", "/%2e%2e/etc/passwd"]
    )
    kind = chance.choice(
        ["application/json", "multipart/form-data; boundary=x", "text/plain", "multipart/form-data"]
    )
    method = chance.choice(["POST", "PUT", "GET", "DELETE", "PATCH"])
    return method, path, chance.randbytes(chance.randrange(2_000)), {"Content-Type": kind}


def remote(chance: random.Random) -> Request:
    """Addresses that the server shall not fetch."""
    url = chance.choice(
        [
            "http://127.0.0.1:22/",
            "file:///etc/passwd",
            "http://[::1]/",
            "gopher://x/",
            "http://169.254.169.254/latest",
        ]
    )
    return "POST", CHAT, chat(url), JSON


def form(chance: random.Random) -> Request:
    """A form for an edit, with parts missing, doubled or malformed."""
    parts = b""
    for _ in range(chance.randrange(6)):
        name = chance.choice(["image", "mask", "prompt", "n", "../../x", "\x00"])
        content = chance.choice([png(64, 64, bytes(576)), b"", chance.randbytes(50), b"9" * 1000])
        head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="../../etc/a"\r\n\r\n'
        parts += head.encode() + content + b"\r\n"
    return (
        "POST",
        EDITS,
        parts + chance.choice([b"--x--\r\n", b"--x", b""]),
        {"Content-Type": "multipart/form-data; boundary=x"},
    )


def requests(count: int, seed: int, photograph: bytes) -> Iterator[Request]:
    """So many requests of all kinds, from a seed."""
    chance = random.Random(seed)
    kinds = [bomb, wrong_base64, damaged_image(photograph), nested, strange_text, noise, remote, form]
    for _ in range(count):
        yield chance.choice(kinds)(chance)


async def send_all(server: ServerProcess, count: int, seed: int, photograph: bytes) -> Counter[str]:
    """Send them from sixteen clients: the count of each status."""
    statuses: Counter[str] = Counter()
    waiting, room = requests(count, seed, photograph), asyncio.Semaphore(16)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, trust_env=False) as client:

        async def send(request: Request) -> None:
            method, path, body, headers = request
            async with room:
                try:
                    answer = await client.request(method, path, content=body, headers=headers)
                    statuses[str(answer.status_code)] += 1
                    if answer.status_code >= 500:
                        print(answer.status_code, method, path, body[:200], answer.text[:200], flush=True)
                    if "Traceback" in answer.text or "site-packages" in answer.text:
                        statuses["traceback"] += 1
                except httpx.HTTPError as error:
                    statuses[type(error).__name__] += 1

        for done in range(0, count, 1000):
            batch = [request for _, request in zip(range(min(1000, count - done)), waiting, strict=False)]
            await asyncio.gather(*(send(request) for request in batch))
            good = await client.post(CHAT, content=chat(photograph_url(), "What is it?"), headers=JSON)
            print(
                f"{done + len(batch)} sent, then a good request: {good.status_code}, {dict(statuses)}",
                flush=True,
            )
    return statuses


def hold_slow_connections(server: ServerProcess, count: int) -> list[socket.socket]:
    """Connections that send a head, or half of one, and then nothing."""
    held = []
    for number in range(count):
        connection = socket.create_connection(("127.0.0.1", server.port))
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n"
        connection.sendall(head + (b"\r\n{" if number % 2 else b""))
        held.append(connection)
    return held


def main() -> None:
    """Start, attack, count, stop."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=1_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--slow", type=int, default=100, help="connections that never finish a request")
    options.add_argument("--llm", default=None)
    given = options.parse_args()
    with ServerProcess() as server:
        before, started = server.resident_bytes(), time.perf_counter()
        held = hold_slow_connections(server, given.slow)
        photograph = base64.b64decode(photograph_url().partition(",")[2])
        statuses = asyncio.run(send_all(server, given.requests, given.seed, photograph))
        for connection in held:
            connection.close()
        print(f"statuses: {dict(sorted(statuses.items()))}")
        faults = sum(
            count for status, count in statuses.items() if status.startswith("5") or status == "traceback"
        )
        print(f"faults of the server (5xx, tracebacks): {faults} of {given.requests}")
        print(f"alive: {server.is_alive()}; tracebacks in its log: {server.log().count('Traceback')}")
        print(f"memory: {before / 2**20:.0f} MiB before, {server.resident_bytes() / 2**20:.0f} MiB after")
        print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

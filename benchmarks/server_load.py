"""64 clients ──► what a long run costs: errors, memory, equal answers; throughput beside `v2l words`.

Starts `v2l serve` as a process of its own on loopback. Nothing leaves this machine.

- load: clients ask about sample photographs for some time. Every answer must equal the one that a single
  client got before; only 429 may be refused. Memory is compared with its value after the warm-up.
- encoding: embeddings of many photographs through the server, beside `v2l words` on a folder of the same
  photographs, model loading left out of both.
- upstream: the time that v2l adds in front of another server.

    python benchmarks/server_load.py --seconds 300 --clients 64
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import time
from collections import Counter
from typing import Any

import httpx
from server_process import SAMPLES, ServerProcess, photograph_url

CHAT = "/v1/chat/completions"
NAMES = sorted(path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*.jpg"))
QUESTION = "Is it clothing?"  # answered by log-probabilities, the shortest work of the LLM


def request(name: str, question: str = QUESTION) -> dict[str, Any]:
    """A question about a sample photograph."""
    image = {"type": "image_url", "image_url": {"url": photograph_url(name)}}
    content = [{"type": "text", "text": question}, image]
    return {"model": "v2l", "messages": [{"role": "user", "content": content}]}


def answer_of(answer: httpx.Response) -> str:
    """Text and words of an answer."""
    body = answer.json()
    return json.dumps([body["choices"][0]["message"]["content"], body["v2l"], body["usage"]])


async def load(server: ServerProcess, clients: int, seconds: float) -> None:
    """Many clients at once, their answers compared with those of one."""
    statuses: Counter[str] = Counter()
    different = 0
    async with httpx.AsyncClient(
        base_url=server.url, timeout=600, trust_env=False, limits=httpx.Limits(max_connections=clients)
    ) as client:
        expected = {}
        for name in NAMES:
            answer = await client.post(CHAT, json=request(name))
            answer.raise_for_status()
            expected[name] = answer_of(answer)
        end = time.perf_counter() + seconds
        memory: list[int] = []

        async def ask(number: int) -> None:
            nonlocal different
            for name in itertools.islice(itertools.cycle(NAMES), number % len(NAMES), None):
                if time.perf_counter() > end:
                    return
                try:
                    answer = await client.post(CHAT, json=request(name))
                except httpx.HTTPError as error:
                    statuses[type(error).__name__] += 1
                    continue
                statuses[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    different += answer_of(answer) != expected[name]
                else:
                    await asyncio.sleep(float(answer.headers.get("retry-after", "1")))

        async def watch() -> None:
            while time.perf_counter() < end:
                await asyncio.sleep(min(5.0, seconds / 10))
                memory.append(server.resident_bytes())

        await asyncio.gather(watch(), *(ask(number) for number in range(clients)))
    warm = memory[max(1, len(memory) // 10)]
    print(f"{clients} clients for {seconds:g} s: statuses {dict(statuses)}, answers that differ: {different}")
    print(
        f"memory: {warm / 2**20:.0f} MiB after a tenth of the time, {memory[-1] / 2**20:.0f} MiB at the end "
        f"({memory[-1] / warm - 1:+.1%}), at most {max(memory) / 2**20:.0f} MiB"
    )


async def encoding(server: ServerProcess, rounds: int) -> None:
    """Photographs a second through /v1/embeddings, beside the loop of `v2l words`, in turns."""
    import v2l
    from v2l.images import load_images

    pipeline = v2l.load()
    paths = [SAMPLES / name for name in NAMES]
    v2l.words(paths[0], pipeline=pipeline)
    urls = [photograph_url(name) for name in NAMES]
    ratios, by_server, by_command = [], [], []
    async with httpx.AsyncClient(base_url=server.url, timeout=600, trust_env=False) as client:
        for _ in range(rounds):
            started = time.perf_counter()
            for _, image in load_images(paths):  # as cli/words.py does it
                pipeline.tokenizer.image_words(image[None], 8)
                pipeline.tokenizer.visibility_note(image)
            by_command.append(len(paths) / (time.perf_counter() - started))
            started = time.perf_counter()
            bodies = [{"model": "v2l", "input": urls[i : i + 4]} for i in range(0, len(urls), 4)]
            answers = await asyncio.gather(*(client.post("/v1/embeddings", json=body) for body in bodies))
            by_server.append(len(paths) / (time.perf_counter() - started))
            assert all(answer.status_code == 200 for answer in answers)
            ratios.append(by_server[-1] / by_command[-1])
    print(
        f"photographs a second, medians of {rounds} rounds of {len(paths)}: server "
        f"{statistics.median(by_server):.2f}, v2l words {statistics.median(by_command):.2f}, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def added_time(upstream: ServerProcess, count: int) -> None:
    """What v2l adds in front of a server: a question with an image, less the same text sent directly."""
    with ServerProcess("--upstream", f"{upstream.url}/v1", "--upstream-model", "v2l") as front:
        added, encoded = [], []
        with httpx.Client(timeout=600, trust_env=False) as client:
            for name in (NAMES * count)[: count + 1]:
                body = {**request(name, "Name it."), "max_tokens": 1}
                started = time.perf_counter()
                answer = client.post(front.url + CHAT, json=body).json()
                whole = time.perf_counter() - started
                words = ", ".join(answer["v2l"]["images"][0]["words"])
                text = f"Name it.\n(Image 1 shows: {words})"
                turns = [{"role": "user", "content": text}]
                started = time.perf_counter()
                client.post(upstream.url + CHAT, json={**body, "messages": turns})
                added.append(whole - (time.perf_counter() - started))
                started = time.perf_counter()
                client.post(
                    front.url + "/v1/embeddings", json={"model": "v2l", "input": photograph_url(name)}
                )
                encoded.append(time.perf_counter() - started)
    extra = [a - e for a, e in zip(added[1:], encoded[1:], strict=True)]
    print(
        f"added in front of an upstream, medians of {count}: {statistics.median(added[1:]) * 1e3:.0f} ms, of "
        f"which an embedding request takes {statistics.median(encoded[1:]) * 1e3:.0f} ms; the rest is "
        f"{statistics.median(extra) * 1e3:.0f} ms"
    )


def main() -> None:
    """Measure everything, one after the other."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clients", type=int, default=64)
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    with ServerProcess() as server:
        asyncio.run(load(server, given.clients, given.seconds))
        asyncio.run(encoding(server, given.rounds))
        added_time(server, given.rounds)


if __name__ == "__main__":
    main()

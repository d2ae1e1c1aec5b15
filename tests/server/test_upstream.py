"""An upstream server: it gets words, its answer comes back; its failures become statuses with a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from served import chat, image_part, local_settings, served, text_part
from tiny_server import DROPPED, JSON, TinyServer, in_turn, refusal, saying, tiny_server
from tiny_server import chat as completion

from v2l.pipeline.pipeline import Pipeline

CHAT = "/v1/chat/completions"


@contextmanager
def behind(
    pipeline: Pipeline, reply: Any, delay: float = 0.0, **limits: Any
) -> Iterator[tuple[str, TinyServer]]:
    """v2l in front of a tiny server."""
    with (
        tiny_server(reply, delay=delay) as upstream,
        served(pipeline, local_settings(**limits), upstream.url) as address,
    ):
        yield address, upstream


@pytest.fixture(scope="module")
def front(long_pipeline: Pipeline) -> Iterator[tuple[str, TinyServer]]:
    """v2l in front of a tiny server whose reply tests choose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-upstream")
        with behind(long_pipeline, saying("a hat"), upstream_bytes=2000) as pair:
            yield pair


def post(address: str, body: Any) -> httpx.Response:
    return httpx.post(address + CHAT, json=body, timeout=30)


def test_the_upstream_gets_words_and_every_other_field(front: tuple[str, TinyServer], straw: str) -> None:
    address, upstream = front
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = chat(text_part("What?"), image_part(straw), temperature=0.5, tools=tools)
    answer = httpx.post(address + CHAT, json=body, headers={"Authorization": "Bearer mine"}).json()
    words = answer["v2l"]["images"][0]["words"]
    assert answer["choices"][0]["message"]["content"] == "a hat"
    [sent] = upstream.requests
    content = f"What?\n(Image 1 shows: {', '.join(words)})"
    assert sent["messages"] == [{"role": "user", "content": content}]
    assert (sent["model"], sent["temperature"], sent["tools"]) == ("tiny-chat", 0.5, tools)
    assert upstream.keys == ["Bearer sk-upstream"]


def test_a_second_v2l_is_an_upstream_and_its_stream_passes(long_pipeline: Pipeline, straw: str) -> None:
    parts = [image_part(straw), text_part("Say more.")]
    options: dict[str, Any] = {"max_tokens": 8, "stream_options": {"include_usage": True}}
    with served(long_pipeline) as second, served(long_pipeline, None, f"{second}/v1", "tiny") as first:
        whole = post(first, chat(*parts, max_tokens=8)).json()
        text = post(first, chat(*parts, stream=True, **options)).text
        plain = post(second, chat(*parts, max_tokens=8)).json()
        health = httpx.get(f"{first}/v1/models").json()
    assert whole["choices"] == plain["choices"]
    assert whole["usage"] == plain["usage"]
    assert health["data"][0]["id"] == "tiny"
    chunks = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
    assert said == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"] == whole["usage"]
    assert len(chunks[0]["v2l"]["images"]) == 1


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (refusal(429, "slow down", Retry_After="7"), 429, "too many requests (slow down)"),
        (refusal(500, "boom"), 502, "answered 500 (boom)"),
        (refusal(503, "loading"), 502, "answered 503"),
        (refusal(504, "late"), 504, "too slow"),
        (refusal(401, "bad key sk-upstream"), 502, "does not take the key"),
        (refusal(400, "no tools"), 400, "refused the request (no tools)"),
        (refusal(404, "no such model"), 404, "no such model"),
        ((302, JSON, "", {"Location": "http://10.0.0.1/"}), 502, "answered 302"),
        ((200, JSON, "{"), 502, "no JSON"),
        ((200, "text/html", "<html>"), 502, "no JSON"),
        ((200, JSON, "[]"), 502, "no JSON object"),
        ((200, JSON, "{}"), 502, "no choices"),
        ((200, JSON, '{"choices": [{}]}'), 502, "no message"),
        ((200, JSON, '{"choices": [{"text": "a", "x": NaN}]}'), 502, "no JSON"),
        ((200, JSON, '{"choices": [{"text": "a", "x": 1e999}]}'), 502, "no JSON"),
        ((200, JSON, completion("x" * 3000)), 502, "too long"),
        ((200, JSON, "{", DROPPED), 502, "dropped the connection"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_failures_of_the_upstream(front: tuple[str, TinyServer], reply: Any, status: int, words: str) -> None:
    address, upstream = front
    upstream.reply = in_turn(reply)
    whole = post(address, chat(text_part("hi")))
    streamed = post(address, chat(text_part("hi"), stream=True))
    assert whole.status_code == status
    message = whole.json()["error"]["message"]
    assert words in message
    assert "sk-upstream" not in whole.text + streamed.text
    assert "error" in streamed.text
    if status == 429:
        assert whole.headers["retry-after"] == "7"


def test_half_a_character_of_the_upstream_is_passed_on(front: tuple[str, TinyServer]) -> None:
    address, upstream = front
    upstream.reply = in_turn((200, JSON, completion("\ud800")))
    assert post(address, chat(text_part("hi"))).status_code == 200


def test_fields_that_are_nested_too_deep_are_refused(front: tuple[str, TinyServer]) -> None:
    address, _ = front
    for depth in (200, 300, 600, 900):
        deep = "[" * depth + "]" * depth
        turn = '{"role": "user", "content": "hi", "x": ' + deep + "}"
        for body in (
            '{"model": "v2l", "messages": [' + turn + "]}",
            '{"model": "v2l", "messages": [{"role": "user", "content": "hi"}], "x": ' + deep + "}",
        ):
            headers = {"Content-Type": "application/json"}
            answer = httpx.post(address + CHAT, content=body, headers=headers, timeout=30)
            assert answer.status_code in (200, 400), (depth, answer.text)


def test_an_upstream_that_is_slow_or_down(long_pipeline: Pipeline) -> None:
    with behind(long_pipeline, saying("late"), delay=1.0, upstream_seconds=0.2) as (address, _):
        late = post(address, chat(text_part("hi")))
    assert (late.status_code, late.json()["error"]["code"]) == (504, "upstream_timeout")
    with served(long_pipeline, None, "http://127.0.0.1:9/v1", "nobody") as address:
        down = post(address, chat(text_part("hi")))
    assert (down.status_code, down.json()["error"]["code"]) == (502, "upstream_failed")
    assert "cannot be reached" in down.json()["error"]["message"]

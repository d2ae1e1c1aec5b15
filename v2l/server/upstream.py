"""a chat whose images have become words ──► the answer of another server that speaks OpenAI's protocol.

Every field of the request is passed on, except the images. The key comes from the environment variable
OPENAI_API_KEY; it is sent to this server only and never printed. Redirects are not followed. What goes wrong
there becomes 502, 504 or 429 with a sentence.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from v2l.llm.endpoint import KEY, NO_KEY, Endpoint, is_loopback, words_of
from v2l.llm.retries import parse_retry_after
from v2l.pipeline.image_words import ImageWords
from v2l.prompts.chat import ShownImage, turn_text
from v2l.server.errors import ApiError
from v2l.server.messages import ChatRequest, CompletionRequest, Sampling, TextPart
from v2l.server.metrics import Metrics
from v2l.server.settings import Limits

PASSED_ON = (400, 404, 413, 422)  # statuses that are about the request itself
LONGEST_QUOTE = 200  # characters of the upstream server's own words
CONNECTIONS = 256


class Upstream:
    """The server whose LLM answers.

    Args:
        endpoint: its address and the name of its LLM.
        limits: how long and how large an answer may be.
        metrics: of the server.
    """

    def __init__(self, endpoint: Endpoint, limits: Limits, metrics: Metrics) -> None:
        self.endpoint, self.model = endpoint, endpoint.model_name
        self._limits, self.metrics = limits, metrics
        self._key = os.environ.get(KEY) or NO_KEY
        address = httpx.URL(endpoint.url)
        self._client = httpx.AsyncClient(
            base_url=endpoint.url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {self._key}", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(limits.upstream_seconds, connect=10.0),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=32),
            follow_redirects=False,
            trust_env=not is_loopback(address.host),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def chat(self, request: ChatRequest, images: Sequence[ImageWords]) -> dict[str, Any]:
        """The whole answer to a chat.

        Raises:
            ApiError: the server is down, slow, refuses, or its answer is no answer.
        """
        return await self._complete("chat/completions", self._chat_body(request, images, stream=False))

    def stream_chat(
        self, request: ChatRequest, images: Sequence[ImageWords]
    ) -> AsyncIterator[dict[str, Any]]:
        """The pieces of the answer to a chat; errors as for `chat`."""
        return self._stream("chat/completions", self._chat_body(request, images, stream=True))

    async def complete(self, request: CompletionRequest) -> dict[str, Any]:
        """The whole continuation of a prompt; errors as for `chat`."""
        return await self._complete("completions", self._body(request, stream=False))

    def stream_completion(self, request: CompletionRequest) -> AsyncIterator[dict[str, Any]]:
        """The pieces of the continuation of a prompt; errors as for `chat`."""
        return self._stream("completions", self._body(request, stream=True))

    def _body(self, request: Sampling, stream: bool) -> dict[str, Any]:
        """The fields that the client sent, with the upstream's own name of the model."""
        return request.model_dump(exclude_unset=True) | {"model": self.model, "stream": stream}

    def _chat_body(self, request: ChatRequest, images: Sequence[ImageWords], stream: bool) -> dict[str, Any]:
        shown = iter([ShownImage(number, image.prompt_words) for number, image in enumerate(images, start=1)])
        messages = []
        for message in request.messages:
            fields = message.model_dump(exclude_unset=True)
            if isinstance(message.content, list):
                parts = [part.text if isinstance(part, TextPart) else next(shown) for part in message.parts]
                fields["content"] = turn_text(parts)
            messages.append(fields)
        return self._body(request, stream) | {"messages": messages}

    async def _complete(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self.metrics.stage("upstream"):
            async with self._answer(path, body) as answer:
                content = bytearray()
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > self._limits.upstream_bytes:
                        raise self._nonsense("its answer is too long")
                return self._checked(self._parsed(bytes(content)))

    async def _stream(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        with self.metrics.stage("upstream"):
            async with self._answer(path, body) as answer:
                count = 0
                async for line in self._lines(answer):
                    data = line.removeprefix("data:").strip()
                    if not line.startswith("data:") or not data:
                        continue
                    if data == "[DONE]":
                        break
                    chunk = self._parsed(data)
                    if "error" in chunk:
                        raise self._failed(f"it stopped with an error ({self._quoted(words_of(chunk))})")
                    count += 1
                    yield chunk
                if not count:
                    raise self._nonsense("there is no event in its stream")

    async def _lines(self, answer: httpx.Response) -> AsyncIterator[str]:
        """The lines of a stream, up to a number of characters in all."""
        size, rest = 0, ""
        async for text in answer.aiter_text():
            size += len(text)
            if size > self._limits.upstream_bytes:
                raise self._nonsense("its answer is too long")
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                yield line
        yield rest

    @asynccontextmanager
    async def _answer(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[httpx.Response]:
        """A response with the status 200; every failure of the connection becomes an ApiError."""
        try:
            content = json.dumps(body, allow_nan=False).encode()
        except (ValueError, RecursionError):
            raise ApiError(400, "a field holds a number that is not finite, or is nested too deep") from None
        try:
            async with self._client.stream(
                "POST", path, content=content, headers={"Content-Type": "application/json"}
            ) as answer:
                if answer.status_code != 200:
                    raise await self._refusal(answer)
                yield answer
        except httpx.TimeoutException:
            seconds = f"{self._limits.upstream_seconds:g} seconds"
            raise ApiError(504, f"the upstream server did not answer within {seconds}") from None
        except httpx.ConnectError:
            raise self._failed("it cannot be reached") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise self._failed(f"it dropped the connection ({type(error).__name__})") from None

    async def _refusal(self, answer: httpx.Response) -> ApiError:
        """What another status than 200 means for the client."""
        status, text = answer.status_code, ""
        async for chunk in answer.aiter_text():
            text += chunk
            if len(text) > 10_000:
                break
        try:
            words = words_of(json.loads(text))
        except (ValueError, RecursionError):
            words = ""
        quoted = f" ({self._quoted(words)})" if words else ""
        if status == 429:
            seconds = parse_retry_after(answer.headers.get("retry-after"))
            return ApiError(
                429,
                f"the upstream server has too many requests{quoted}",
                retry_after=None if seconds is None else min(3600, int(seconds + 0.999)),
            )
        if status in (401, 403):
            return self._failed(f"it does not take the key of this server ({KEY}){quoted}")
        if status in PASSED_ON:
            return ApiError(
                status, f"the upstream server refused the request{quoted}", code="upstream_refused"
            )
        if status == 504:
            return ApiError(504, f"the upstream server was too slow{quoted}")
        return self._failed(f"it answered {status}{quoted}")

    def _parsed(self, content: bytes | str) -> dict[str, Any]:
        try:
            parsed = json.loads(content, parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError):
            raise self._nonsense("its answer is no JSON") from None
        if not isinstance(parsed, dict):
            raise self._nonsense("its answer is no JSON object")
        return parsed

    def _checked(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer itself, if it has a choice with a message or a text."""
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise self._nonsense("there are no choices in its answer")
        if not isinstance(choices[0].get("message"), dict) and not isinstance(choices[0].get("text"), str):
            raise self._nonsense("there is no message in its answer")
        return answer

    def _nonsense(self, what: str) -> ApiError:
        return self._failed(f"it answers nonsense: {what}")

    def _failed(self, what: str) -> ApiError:
        return ApiError(502, f"the upstream server failed: {what}")

    def _quoted(self, words: str) -> str:
        """The beginning of its own words, without the key."""
        return words.replace(self._key, "…")[:LONGEST_QUOTE]


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number

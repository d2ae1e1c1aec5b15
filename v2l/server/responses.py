"""answers ──► JSON of OpenAI's protocol, with the words of the images in the field `v2l`."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi.responses import JSONResponse

from v2l.pipeline.image_words import ImageWords
from v2l.server.local import Written

EXTENSION = "v2l"


class AsciiJson(JSONResponse):
    """JSON in which every other character is escaped, so that halves of characters are no error."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def extension(images: Sequence[ImageWords], task: str | None = None) -> dict[str, Any]:
    """The field `v2l`: the words that each image became, and how the LLM was asked.

    Args:
        images: in the order of the request.
        task: "vqa", "caption", "chat" or "completion"; None for an upstream server.
    """
    shown = [{"words": list(image.words), "note": image.note} for image in images]
    return {"images": shown} | ({"task": task} if task else {})


def usage(written: Written) -> dict[str, int]:
    """The count of tokens, by the tokenizer of the LLM."""
    return {
        "prompt_tokens": written.prompt_tokens,
        "completion_tokens": written.completion_tokens,
        "total_tokens": written.prompt_tokens + written.completion_tokens,
    }


class Answer:
    """The head that all parts of one answer share.

    Args:
        kind: "chat.completion" or "text_completion".
        model: the name of the LLM.
    """

    def __init__(self, kind: str, model: str) -> None:
        self._chat = kind == "chat.completion"
        self._kind, self._model = kind, model
        self._id, self._created = (
            f"{'chatcmpl' if self._chat else 'cmpl'}-{uuid.uuid4().hex}",
            int(time.time()),
        )

    def whole(self, written: Written) -> dict[str, Any]:
        """The complete answer."""
        message = {"role": "assistant", "content": written.text, "refusal": None}
        said = {"message": message} if self._chat else {"text": written.text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": written.finish}
        return {**self._head(self._kind), "choices": [choice], "usage": usage(written)}

    async def chunks(
        self, pieces: AsyncIterator[str | Written], with_usage: bool
    ) -> AsyncIterator[dict[str, Any]]:
        """The pieces of a stream, its end, and the count of tokens if it is wanted."""
        first = True
        async for piece in pieces:
            if isinstance(piece, str):
                yield self._chunk(piece, first)
                first = False
                continue
            if first:
                yield self._chunk("", first)
            yield self._chunk(None, False, piece.finish)
            if with_usage:
                yield {**self._head(self._chunk_kind), "choices": [], "usage": usage(piece)}

    @property
    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self._chat else self._kind

    def _chunk(self, text: str | None, first: bool, finish: str | None = None) -> dict[str, Any]:
        role = {"role": "assistant"} if first else {}
        delta = role | ({} if text is None else {"content": text})
        said: dict[str, Any] = {"delta": delta} if self._chat else {"text": text or ""}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        return {**self._head(self._chunk_kind), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}


async def with_extension(
    chunks: AsyncIterator[dict[str, Any]], field: dict[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    """The same chunks; the first one has the field `v2l`."""
    async for chunk in chunks:
        yield {**chunk, EXTENSION: field} if field else chunk
        field = {}

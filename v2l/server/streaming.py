"""chunks ──► server-sent events, as OpenAI's servers write them.

Source: HTML Living Standard, section 9.2 (server-sent events).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi.responses import StreamingResponse

from v2l.errors import V2LError
from v2l.server.errors import ApiError, refused

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def event_stream(chunks: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    """A streaming response, once the first chunk is there: what fails before it gets a status of its own.

    Raises:
        ApiError: the first chunk cannot be had.
    """
    try:
        first = await anext(chunks)
    except StopAsyncIteration:
        raise ApiError(502, "the answer is empty") from None

    async def events() -> AsyncIterator[str]:
        async with aclosing(chunks) as rest:  # type: ignore[type-var]  # all of them are generators
            yield event(first)
            try:
                async for chunk in rest:
                    yield event(chunk)
            except (ApiError, V2LError) as error:
                failure = error if isinstance(error, ApiError) else refused(error)
                yield event(failure.body)
            yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers=HEADERS)


def event(chunk: dict[str, Any]) -> str:
    """One event; non-ASCII characters are escaped, so that no character can end it early."""
    return f"data: {json.dumps(chunk)}\n\n"

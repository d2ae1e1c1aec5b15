"""a page that takes seconds to build ──► an application that answers as soon as the page is there.

The models answer programs at `/v1/`, which need no page. So the server listens first and builds the page
beside it; a browser that comes early waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from v2l.errors import raised_at

log = logging.getLogger("v2l.server")


class LatePage:
    """Stands in the place of the page.

    Args:
        build: makes an application with the page at its root; runs in a thread.
        built: called once, when the page answers or cannot be built.
    """

    def __init__(self, build: Callable[[], FastAPI], built: Callable[[], None] = lambda: None) -> None:
        self._build, self._built = build, built
        self._page: FastAPI | None = None
        self._tried, self._closing = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Build the page and keep it open until the end of the block."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            self._closing.set()
            await task

    async def _keep(self) -> None:
        try:
            page = await asyncio.to_thread(self._build)
            async with page.router.lifespan_context(page):
                self._page = page
                self._announce()
                await self._closing.wait()
        except Exception as error:
            log.error("the page could not be built: %s", raised_at(error))
            self._announce()

    def _announce(self) -> None:
        if not self._tried.is_set():
            self._tried.set()
            self._built()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for the page, then let it answer."""
        await self._tried.wait()
        if self._page is None:
            await PlainTextResponse("the page could not be built", 503)(scope, receive, send)
        else:
            await self._page(scope, receive, send)

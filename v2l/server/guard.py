"""every request ──► one that was let in, is small enough, and ends in time; or a refusal in OpenAI's format.

The guard stands before all routes. It reads the whole body of a request before the route runs, so that a slow
or endless body costs no model time. It cancels a route of /v1/ when the client goes away. It writes
one line for each request: method, route, status, seconds, and a number for the request. No body, no query, no
header and no message of an exception is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from v2l.errors import raised_at
from v2l.server.door import Door
from v2l.server.errors import ApiError
from v2l.server.service import Service

log = logging.getLogger("v2l.server")
STRUCTURE = (b"{", b"[", b",")
MOST_DIGITS = 20  # of a Content-Length
LONGEST_METHOD = 16  # characters of a method in the log
RETRY = 2  # seconds after which there may be room for another request


Answering = Callable[[Scope, "Connection", "Sent"], Awaitable[None]]


class ClientGoneError(Exception):
    """The client closed the connection."""


class Guard:
    """The outermost application.

    Args:
        app: the routes.
        service: limits, figures, and whether the server is stopping.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._limits, self._metrics = service.settings.limits, service.metrics
        self._door = Door(service.settings)
        self._under_way = 0
        self._body_bytes = 0  # of all requests that are under way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, Sent(send))

    async def _http(self, scope: Scope, receive: Receive, sent: Sent) -> None:
        """One request, from its head to the log."""
        started, headers = time.perf_counter(), Headers(scope=scope)
        number = uuid.uuid4().hex[:12]
        sent.headers.append((b"x-request-id", number.encode()))
        try:
            self._door.check(scope["path"], headers)
            if scope["path"].startswith("/v1/"):
                async with self._admitted():
                    await self._run(scope, receive, sent, self._answer)
            else:
                await self._run(scope, receive, sent, self._show)
        except ClientGoneError:
            sent.status = sent.status or 499  # nginx's number for it; it is only logged
        except ApiError as error:
            await self._refuse(error, scope, receive, sent)
        except Exception as error:
            log.error("request %s failed: %s", number, raised_at(error))
            await self._refuse(
                ApiError(500, f"a fault of the server; its log has request {number}"), scope, receive, sent
            )
        route = getattr(scope.get("route"), "path", "other")
        seconds = time.perf_counter() - started
        self._metrics.requests.labels(route, str(sent.status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        log.info("%s %s %s %.3f s %s", scope["method"][:LONGEST_METHOD], route, sent.status, seconds, number)

    async def _refuse(self, error: ApiError, scope: Scope, receive: Receive, sent: Sent) -> None:
        """Answer with an error, unless an answer has begun; then uvicorn cuts the connection."""
        if sent.status:
            return
        sent.headers.append((b"connection", b"close"))  # a body may be unread
        await error.response()(scope, receive, sent)

    async def _run(self, scope: Scope, receive: Receive, sent: Sent, answer: Answering) -> None:
        """Read the body, then run the route by `_answer` or `_show`."""
        body = bytearray()
        try:
            await self._read_in_time(scope, receive, body)
            self._check_structure(scope, body)
            await answer(scope, Connection(bytes(body), receive), sent)
        finally:
            self._body_bytes -= len(body)

    async def _answer(self, scope: Scope, connection: Connection, sent: Sent) -> None:
        """Run the route until it ends, the time is over, or the client goes away."""
        route = asyncio.ensure_future(self._app(scope, connection.receive, sent))
        gone = asyncio.create_task(connection.watch())
        try:
            await asyncio.wait(
                {route, gone}, timeout=self._limits.request_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if route.done():
                route.result()
            elif gone.done():
                raise ClientGoneError
            else:
                got = f"the answer took longer than {self._limits.request_seconds:g} seconds"
                raise ApiError(504, got)
        finally:
            for task in (route, gone):
                task.cancel()
            await asyncio.gather(route, gone, return_exceptions=True)

    async def _show(self, scope: Scope, connection: Connection, sent: Sent) -> None:
        """Run a route of the page, whose streams last as long as it is open."""
        await self._app(scope, connection.receive_all, sent)

    async def _read_in_time(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                await self._read(scope, receive, body)
        except TimeoutError:
            got = f"the body took longer than {self._limits.body_seconds:g} seconds"
            raise ApiError(408, got) from None

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        """Read the whole body, and count its bytes as they come.

        Raises:
            ApiError: it is too large, or all bodies together are.
        """
        stated = Headers(scope=scope).get("content-length", "0")
        self._check_body(int(stated) if stated.isdecimal() and len(stated) < MOST_DIGITS else 0)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            content = message.get("body", b"")
            body += content
            self._body_bytes += len(content)
            self._check_body(len(body))
            if not message.get("more_body", False):
                return

    def _check_body(self, size: int) -> None:
        if size > self._limits.body_bytes:
            allowed = f"{self._limits.body_bytes:,} bytes"
            raise ApiError(413, f"the body is too large; allowed: {allowed}")
        if self._body_bytes > self._limits.all_body_bytes:
            raise ApiError(429, "the server holds too many large requests", retry_after=RETRY)

    def _check_structure(self, scope: Scope, body: bytearray) -> None:
        """Refuse JSON of very many small values, which would take a hundred times its size in memory."""
        if "json" not in Headers(scope=scope).get("content-type", "").lower():
            return
        if sum(body.count(mark) for mark in STRUCTURE) > self._limits.json_values:
            got = f"the JSON has more than {self._limits.json_values:,} brackets, braces and commas"
            raise ApiError(413, got)

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[None]:
        """Count the request, unless too many are under way, or the server is stopping.

        Raises:
            ApiError: 429 or 503.
        """
        if self._service.stopping:
            raise ApiError(503, "the server is stopping", retry_after=RETRY)
        if self._under_way >= self._limits.requests:
            raise ApiError(429, f"{self._under_way} requests are under way", retry_after=RETRY)
        self._under_way += 1
        self._metrics.under_way.set(self._under_way)
        try:
            yield
        finally:
            self._under_way -= 1
            self._metrics.under_way.set(self._under_way)


class Sent:
    """Sends a response, remembers its status, and adds headers.

    Args:
        send: of the server.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = [(b"x-content-type-options", b"nosniff")]

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", []), *self.headers]}
        await self._send(message)


class Connection:
    """A connection whose body has been read.

    Args:
        body: of the request.
        receive: gives the end of the connection.
    """

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self._gone = asyncio.Event()

    async def receive(self) -> Message:
        """The body once; then it waits until the client goes away."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def receive_all(self) -> Message:
        """The body once; then what comes."""
        return await (self._receive() if self._body is None else self.receive())

    async def watch(self) -> None:
        """Wait until the client goes away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

"""a browser's request ──► gradio, if the page makes such requests; else a refusal.

Gradio has many routes that the page does not need. Some fetch any address for the visitor, some convert
videos, some show figures of the process. Here only those pass that the page itself uses, with uploaded files
in the place of paths, and what gradio answers names no path of this machine.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from v2l.errors import raised_at
from v2l.server.page.files import NoFileError, hide_folder, make_room, real_file, with_real_files

log = logging.getLogger("v2l.server")
API = "/gradio_api"
FILE = f"{API}/file="
HEARTBEAT = f"{API}/heartbeat/"
STATIC = ("/static/", "/assets/", "/svelte/")
ASKED_FOR = (  # by GET
    "/",
    "/config",
    "/theme.css",
    "/manifest.json",
    "/favicon.ico",
    "/robots.txt",
    f"{API}/theme.css",
    f"{API}/info",
    f"{API}/app_id",
    f"{API}/startup-events",
    f"{API}/queue/data",
    f"{API}/upload_progress",
)
UPLOAD, BLOBS = f"{API}/upload", f"{API}/component_server"
SENT = (f"{API}/queue/join", f"{API}/cancel", f"{API}/reset")  # JSON, by POST
RUN = f"{API}/run/"  # the same, for events without a queue
WITH_QUERY = (f"{API}/queue/data", f"{API}/upload_progress")
TEXTS = ("text/html", "application/json", "text/event-stream")
SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)  # its name, which browsers choose
LARGEST_JSON, LARGEST_UPLOAD = 2**18, 33 * 2**20
UNREADABLE = (422, 500)  # what gradio answers to input of another form than its own


class RefusedError(Exception):
    """A request that the page does not make.

    Args:
        status: of HTTP.
        message: a sentence.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message

    def response(self) -> JSONResponse:
        """The answer, in the form of the server's other refusals."""
        code = {404: "not_found", 413: "request_too_large"}.get(self.status, "bad_request")
        error = {"message": self.message, "type": "invalid_request_error", "param": None, "code": code}
        return JSONResponse({"error": error}, self.status)


class Gate:
    """Stands before gradio's application.

    Args:
        app: gradio's.
        folder: of its files.
    """

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self._app, self._folder = app, folder
        self._kept = set(folder.rglob("*"))  # the samples

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            return
        shown = Shown(send, self._folder)
        try:
            scope, receive = await self._checked(scope, receive)
            await self._app(scope, receive, shown)
        except RefusedError as error:
            await error.response()(scope, receive, send)
        except Exception as error:
            if shown.began:
                raise
            log.warning("the page did not take a request: %s", raised_at(error))
            shown.withheld = True
        if shown.withheld:
            await RefusedError(400, "the page does not take this request").response()(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        """The request as gradio shall see it.

        Raises:
            RefusedError: the page makes no such request.
        """
        root, path, method = scope.get("root_path", ""), scope["path"], scope["method"]
        path = path.removeprefix(root)
        if method in ("GET", "HEAD"):
            return self._get(scope, root, path), receive
        is_json = path in SENT or path.startswith(RUN)
        if method != "POST" or not (is_json or path in (UPLOAD, BLOBS)):
            raise RefusedError(404, "the page has no such path")
        body = await read_body(receive, LARGEST_JSON if is_json else LARGEST_UPLOAD)
        if is_json:
            body = self._opened(body)
        if path == UPLOAD:
            await asyncio.to_thread(make_room, self._folder, self._kept)
        return {**plain(scope), "query_string": b""}, replayed(body, receive)

    def _get(self, scope: Scope, root: str, path: str) -> Scope:
        if path.startswith(STATIC):
            return scope
        if path.startswith(FILE):
            try:
                path = FILE + real_file(path.removeprefix(FILE), self._folder)
            except NoFileError:
                raise RefusedError(404, "there is no such file") from None
            return {**scope, "path": root + path, "raw_path": quote(root + path).encode()}
        heartbeat = path.startswith(HEARTBEAT) and SESSION.fullmatch(path.removeprefix(HEARTBEAT))
        if path not in ASKED_FOR and not heartbeat:
            raise RefusedError(404, "the page has no such path")
        query = scope["query_string"] if path in WITH_QUERY else b""
        return {**plain(scope), "query_string": query[:1000]}

    def _opened(self, body: bytes) -> bytes:
        """The JSON of an event, with the paths of uploaded files."""
        try:
            sent = json.loads(body)
            if not isinstance(sent, dict) or not SESSION.fullmatch(str(sent.get("session_hash"))):
                raise RefusedError(400, "the page sends no such event")
            return json.dumps({**sent, "data": with_real_files(sent.get("data"), self._folder)}).encode()
        except NoFileError:
            raise RefusedError(400, "there is no such file") from None
        except (ValueError, RecursionError):
            raise RefusedError(400, "the body is no JSON") from None


class Shown:
    """Sends what gradio says, without the path of its files.

    Args:
        send: of the server.
        folder: of the files.
    """

    def __init__(self, send: Send, folder: Path) -> None:
        self._send, self._folder = send, folder
        self._is_text = False
        self.began = False
        self.withheld = False  # gradio's own words repeat what was sent

    async def __call__(self, message: Message) -> None:
        """Send one message."""
        if message["type"] == "http.response.start":
            self.withheld = message["status"] in UNREADABLE
            headers = Headers(raw=message.get("headers", []))
            self._is_text = headers.get("content-type", "").startswith(TEXTS)
            if self._is_text:  # its length changes
                kept = [pair for pair in headers.raw if pair[0] != b"content-length"]
                message = {**message, "headers": kept}
        elif self._is_text:
            message = {**message, "body": hide_folder(message.get("body", b""), self._folder)}
        if not self.withheld:
            self.began = True
            await self._send(message)


def plain(scope: Scope) -> Scope:
    """The same request, which asks for no compression: the answer is searched for paths."""
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]}


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body of a request.

    Raises:
        RefusedError: it has more than `limit` bytes, or ends early.
    """
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit:
            raise RefusedError(413, f"the body is too large; allowed: {limit:,} bytes")
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "the body is not complete")
        if not message.get("more_body", False):
            return bytes(body)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read, then what comes after it."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Message:
        return left.pop() if left else await receive()

    return given

"""an application ──► a process that listens, stops gracefully, and ends in exit code 0."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from v2l.errors import V2LError
from v2l.server.service import Service
from v2l.server.settings import Limits, ServerSettings

HANDLED = (signal.SIGINT, signal.SIGTERM)
BACKLOG = 256
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


class Server(uvicorn.Server):
    """uvicorn's server, which ends normally after SIGTERM.

    Args:
        config: of uvicorn.
        service: learns that the server is stopping.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal is not raised again at the end."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in HANDLED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new requests and finish those that run; a second Ctrl-C ends at once."""
        self._service.stopping = True
        super().handle_exit(sig, frame)


class PatientProtocol(H11Protocol):
    """Uvicorn's HTTP protocol; it ends connections that are too many, or do not send or read in time."""

    limits: Limits
    _deadline: asyncio.TimerHandle | None = None  # while a request's head is not complete
    _patience: asyncio.TimerHandle | None = None  # while the client does not read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self.limits.connections:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Go on waiting until a head is complete."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_head()
        else:
            self._stop_waiting()

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read."""
        super().pause_writing()
        self._patience = self.loop.call_later(self.limits.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        self._stop_patience()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self._stop_patience()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.header_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def protocol_with(limits: Limits) -> type[PatientProtocol]:
    """The protocol with these limits."""

    class LimitedProtocol(PatientProtocol):
        """Of one server."""

    LimitedProtocol.limits = limits
    return LimitedProtocol


def listen(settings: ServerSettings) -> socket.socket:
    """A socket on the address and port of the settings.

    Raises:
        V2LError: the port is taken, or the address is none of this machine.
    """
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise V2LError(
            f"cannot listen on {settings.host}:{settings.port} ({reason})",
            "a free port of an address of this machine",
            f"v2l serve --port {settings.port + 1 if 0 < settings.port < 65535 else 8000}",
        ) from error
    return listener


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that run are finished first.

    Args:
        app: of `create_app`.
        listener: of `listen`.
    """
    make_server(app).run(sockets=[listener])


def make_server(app: FastAPI) -> Server:
    """The server of an application, which does not run yet."""
    service: Service = app.state.service
    limits = service.settings.limits
    config = uvicorn.Config(
        app,
        http=protocol_with(limits),
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=int(limits.stop_seconds),
    )
    return Server(config, service)


def log_to_stderr() -> None:
    """One line a request on standard error; packages write warnings only."""
    logging.basicConfig(format=LOG_FORMAT, level=logging.WARNING)
    logging.getLogger("v2l.server").setLevel(logging.INFO)
    for name in ("httpx", "httpcore", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)

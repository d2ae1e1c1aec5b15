"""options ──► ServerSettings: where the server listens, who may use it, and the limits of one request."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from v2l.errors import V2LError

KEY = re.compile(r"[!-~]{1,512}")  # what an Authorization header carries without encoding
HOST = re.compile(r"[a-z0-9_.:\[\]-]{1,255}")


@dataclass(frozen=True)
class Limits:
    """How much one request, and all requests together, may take.

    Attributes:
        body_bytes: of one request.
        all_body_bytes: of all requests that are under way.
        json_values: brackets, braces and commas in a JSON body; more of them would fill the memory.
        images: in one request.
        pixels: of one image.
        messages: of one chat.
        texts: of one request for embeddings.
        text_characters: of all texts of one request.
        word_characters: of a text to be embedded between two spaces; the time of some encoders grows with its
            square.
        new_tokens: that one answer may have.
        requests: under way at once; more get 429.
        images_waiting: for the encoder; more get 429.
        answers_waiting: for the LLM; more get 429.
        header_seconds: until a connection has sent a whole request head.
        body_seconds: until the body is here.
        read_seconds: that a client may read nothing of an answer.
        request_seconds: until the answer is complete.
        stop_seconds: that running requests get after SIGTERM.
        connections: open at once; more are closed.
        remote_bytes: of an image that is fetched.
        remote_seconds: to fetch it.
        upstream_seconds: until an upstream server sends its next bytes.
        upstream_bytes: of an upstream server's answer.
    """

    body_bytes: int = 32 * 2**20
    all_body_bytes: int = 256 * 2**20
    json_values: int = 100_000
    images: int = 16
    pixels: int = 25_000_000
    messages: int = 512
    texts: int = 256
    text_characters: int = 1_000_000
    word_characters: int = 1_000
    new_tokens: int = 1024
    requests: int = 128
    images_waiting: int = 256
    answers_waiting: int = 128
    header_seconds: float = 15.0
    body_seconds: float = 60.0
    read_seconds: float = 30.0
    request_seconds: float = 600.0
    stop_seconds: float = 60.0
    connections: int = 512
    remote_bytes: int = 16 * 2**20
    remote_seconds: float = 10.0
    upstream_seconds: float = 120.0
    upstream_bytes: int = 16 * 2**20


@dataclass(frozen=True)
class ServerSettings:
    """Where the server listens, and who may use it.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        api_key: what clients must send as a bearer token; None asks for none.
        without_key: allow another address than loopback without a key.
        allow_hosts: hosts from which images may be fetched, as "example.org".
        allow_origins: web pages that may call the server from a browser, as "https://example.org".
        limits: of requests.

    Raises:
        V2LError: others could reach the server without a key, or a value is malformed.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    without_key: bool = False
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.api_key is not None and not KEY.fullmatch(self.api_key):
            allowed = "1 to 512 printable ASCII characters without spaces"
            raise V2LError("got a malformed API key", allowed, "V2L_API_KEY=... v2l serve")
        if not self.is_local and self.api_key is None and not self.without_key:
            raise V2LError(
                f"got --host {self.host}, which other machines may reach, and no key",
                "an API key, or 127.0.0.1",
                "V2L_API_KEY=... v2l serve --host ..., or --without-key where the network itself is closed",
            )
        for host in self.allow_hosts:
            if not HOST.fullmatch(host):
                raise V2LError(f"got --allow-host {host!r}", "a host's name", "--allow-host example.org")
        for origin in self.allow_origins:
            if not re.fullmatch(r"https?://[^/\s]+", origin):
                allowed = "scheme and host of a page, without a path"
                raise V2LError(
                    f"got --allow-origin {origin!r}", allowed, "--allow-origin https://example.org"
                )

    @property
    def is_local(self) -> bool:
        """True when only this machine can reach the server."""
        return is_loopback_host(self.host)


def is_loopback_host(host: str) -> bool:
    """True for names and addresses of this machine: localhost, 127.0.0.0/8, ::1."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"

"""the head of a request ──► let in, or a refusal: whose key, which host name, which web page.

Without a key the server is for this machine alone. A web page of a stranger must not use it through the
browser of somebody who sits here, so a request is refused when it names another host (DNS rebinding) or comes
from a page of another origin.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from v2l.server.errors import ApiError
from v2l.server.settings import ServerSettings, is_loopback_host

OPEN = ("/healthz",)  # paths that need no key


@dataclass(frozen=True)
class Door:
    """Who is let in.

    Attributes:
        settings: key, address and allowed origins.
    """

    settings: ServerSettings

    def check(self, path: str, headers: Mapping[str, str]) -> None:
        """Refuse a request by its head, before any of its body is read.

        Raises:
            ApiError: 401 without the right key, 403 for another host name or origin.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.settings.is_local and self.settings.api_key is None and not self._is_own_name(host):
            raise ApiError(403, "the Host header is not a name of this machine")
        if origin is not None and not self.allows_origin(origin, host):
            raise ApiError(403, "web pages of this origin may not use the server (--allow-origin)")
        if path not in OPEN and not self._has_key(headers.get("authorization", "")):
            raise ApiError(401, "the API key is missing or wrong: send it as a bearer token")

    def allows_origin(self, origin: str, host: str) -> bool:
        """Whether a web page may use the server: its own page, or one that was named."""
        if origin in self.settings.allow_origins:
            return True
        try:
            return bool(host) and urlsplit(origin).netloc == host
        except ValueError:  # brackets that do not close
            return False

    def _is_own_name(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return is_loopback_host(name) or name == self.settings.host

    def _has_key(self, authorization: str) -> bool:
        """Whether the header carries the key; the comparison takes the same time for every wrong key."""
        if self.settings.api_key is None:
            return True
        return hmac.compare_digest(_digest(sent_key(authorization)), _digest(self.settings.api_key))


def sent_key(authorization: str) -> str:
    """The key in an Authorization header: a bearer token, or the password of a browser's log-in."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode("latin-1").partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return value.strip() if scheme.lower() == "bearer" else ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("latin-1", "replace")).digest()

"""address of an image ──► its bytes, from allowed hosts only, and never from a private address.

The name is resolved once. Every address that it gives must be public, and the connection goes to that very
address, so a name that changes its address in between (DNS rebinding) gains nothing. Each redirect is checked
like the first address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from v2l.server.errors import ApiError

REDIRECTS = 3
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv4 addresses inside IPv6 ones


@dataclass(frozen=True)
class RemoteImages:
    """Fetches images from some hosts.

    Attributes:
        hosts: names as in the addresses, "example.org" (ports 80 and 443) or "example.org:8443".
        max_bytes: of one image.
        seconds: for name, connection, redirects and body together.
        is_allowed: whether an address may be connected to.
    """

    hosts: tuple[str, ...]
    max_bytes: int
    seconds: float
    is_allowed: Callable[[str], bool] = lambda address: is_public(address)

    async def fetch(self, url: str) -> bytes:
        """The bytes behind an address.

        Raises:
            ApiError: the host is not allowed, its address is private, or the image cannot be had in time.
        """
        try:
            async with asyncio.timeout(self.seconds):
                return await self._follow(url)
        except TimeoutError:
            raise unreachable(f"it took longer than {self.seconds:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            raise unreachable(type(error).__name__) from None

    async def _follow(self, url: str) -> bytes:
        """One address after the other, up to `REDIRECTS` redirects."""
        for _ in range(REDIRECTS + 1):
            target = httpx.URL(url)
            self._check_host(target)
            addresses = await resolve(target.host, target.port or default_port(target))
            for address in addresses:
                if not self.is_allowed(address):
                    raise ApiError(
                        400, f"the image's host {target.host} has an address that is not public", "image_url"
                    )
            found = await self._get(target, addresses[0])
            if isinstance(found, bytes):
                return found
            url = str(target.join(found))
        raise unreachable(f"more than {REDIRECTS} redirects")

    def _check_host(self, url: httpx.URL) -> None:
        """Refuse a host that is not in the list."""
        host = url.host.lower().rstrip(".")
        names = [f"{host}:{url.port or default_port(url)}"]
        if url.port in (None, 80, 443):
            names.append(host)
        if url.scheme not in ("http", "https") or url.userinfo or not set(names) & set(self.hosts):
            raise ApiError(
                400,
                "the image's host is not among those that --allow-host names",
                "image_url",
                "host_refused",
            )

    async def _get(self, url: httpx.URL, address: str) -> bytes | str:
        """The body, or where a redirect points to; the connection goes to `address`."""
        headers = {"Host": url.netloc.decode("ascii"), "Accept": "image/*", "Accept-Encoding": "identity"}
        async with (
            httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=self.seconds) as client,
            client.stream(
                "GET", url.copy_with(host=address), headers=headers, extensions={"sni_hostname": url.host}
            ) as answer,
        ):
            if answer.has_redirect_location:
                return answer.headers["location"]
            if answer.status_code != 200:
                raise unreachable(f"its host answered {answer.status_code}")
            body = bytearray()
            async for chunk in answer.aiter_raw():  # as sent: nothing is decompressed here
                body += chunk
                if len(body) > self.max_bytes:
                    raise ApiError(400, f"the image has more than {self.max_bytes:,} bytes", "image_url")
            return bytes(body)


def default_port(url: httpx.URL) -> int:
    """The port of an address that names none."""
    return 443 if url.scheme == "https" else 80


def unreachable(reason: str) -> ApiError:
    """The refusal for an image that cannot be fetched."""
    return ApiError(400, f"the image could not be fetched: {reason}", "image_url", "image_unreachable")


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, one or more."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """True for an address of the public internet, also when it is wrapped in an IPv6 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in NAT64 or ip.sixtofour or ip.teredo or ip.is_site_local:
            return False
        ip = ip.ipv4_mapped or ip
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)

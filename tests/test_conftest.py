"""The guard that keeps tests off the network."""

from __future__ import annotations

import os
import socket

import pytest


def test_names_are_not_looked_up() -> None:
    with pytest.raises(OSError, match="without a network"):
        socket.getaddrinfo("example.org", 443)


def test_addresses_are_not_dialled() -> None:
    with socket.socket() as outgoing, pytest.raises(OSError, match="without a network"):
        outgoing.connect(("192.0.2.1", 443))


def test_loopback_is_open() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as outgoing,
    ):
        assert outgoing.getpeername() == server.getsockname()


def test_the_hub_is_offline() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"

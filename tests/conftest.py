"""Every test runs offline on the CPU: the network is refused, loopback excepted."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's package is imported: before any test
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # no spinning: other programs may want the processor too
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest
from hypothesis import settings

settings.register_profile("v2l", deadline=None)  # a busy machine is no failure
settings.load_profile("v2l")

ROOT = Path(__file__).resolve().parents[1]


def is_loopback(host: str | bytes | None) -> bool:
    """True for this machine itself: localhost, 127.0.0.0/8, ::1, and a listener's empty host."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Any:
    """Refuse every name look-up and connection that leaves this machine."""
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def guarded_look_up(host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
        if not is_loopback(host):
            raise OSError(f"tests run without a network: {host!r} was looked up")
        return look_up(host, *args, **kwargs)

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
            raise OSError(f"tests run without a network: {address!r} was dialled")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        patch.setattr(socket.socket, "connect", guarded_connect)
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def samples() -> Path:
    """The sample photographs of the repository: one folder a class, four photographs each."""
    return ROOT / "data" / "samples"


@pytest.fixture(scope="session")
def load_once() -> Callable[..., Any]:
    """`Pipeline.load` with a memory: the embedded models are read once for all tests that only use them."""
    from v2l.pipeline.pipeline import Pipeline

    return cache(Pipeline.load)


@pytest.fixture(scope="session")
def pipeline() -> Any:
    """A tiny pipeline with random weights: what tasks do with it is real, what comes out means nothing."""
    from tiny_pipeline import tiny_pipeline

    return tiny_pipeline()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept stays out of the user's cache."""
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "cache"))


@pytest.fixture
def pipeline_loaded_once(load_once: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and functions share one pipeline in the tests with this fixture."""
    monkeypatch.setattr("v2l.pipeline.pipeline.Pipeline.load", load_once)

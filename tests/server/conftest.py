"""A tiny pipeline behind the application (`client`), and behind a real server on a loopback port (`address`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served import data_url, served
from starlette.testclient import TestClient
from tiny_pipeline import tiny_pipeline

from v2l.pipeline.pipeline import Pipeline
from v2l.server.app import create_app

LOCAL = "http://127.0.0.1:8000"


@pytest.fixture(scope="session")
def long_pipeline() -> Pipeline:
    """A tiny pipeline whose LLM has room for the examples of a question."""
    return tiny_pipeline(context=4096)


@pytest.fixture(scope="module")
def client(long_pipeline: Pipeline) -> Iterator[TestClient]:
    """The application, without a socket."""
    with TestClient(create_app(long_pipeline), base_url=LOCAL, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def address(long_pipeline: Pipeline) -> Iterator[str]:
    """A real server's address."""
    with served(long_pipeline) as address:
        yield address


@pytest.fixture(scope="session")
def straw(samples: Path) -> str:
    """A photograph as a `data:` URL."""
    return data_url(samples / "hat" / "straw.jpg")


@pytest.fixture(scope="session")
def boots(samples: Path) -> str:
    """Another photograph as a `data:` URL."""
    return data_url(samples / "shoes" / "boots.jpg")

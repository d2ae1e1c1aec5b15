"""A page of a tiny pipeline on loopback, and a real Chromium that looks at it."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")  # while it is open, this process has a running event loop
def browser() -> Iterator[Any]:
    """Debian's Chromium without a window; tests are skipped where it is missing."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed: pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The address of a server with the page of a tiny pipeline."""
    import uvicorn
    from fastapi import FastAPI
    from tiny_pipeline import tiny_pipeline

    from v2l.server.page import build_page, mount_page

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app = mount_page(FastAPI(), build_page(tiny_pipeline(context=8192)))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join(timeout=10)

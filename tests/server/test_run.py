"""The server's process: SIGTERM lets what runs finish; a taken port is one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from served import chat, text_part

from v2l.errors import V2LError
from v2l.server.run import listen
from v2l.server.settings import ServerSettings


def test_sigterm_finishes_what_runs_and_ends_with_zero() -> None:
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, str(here / "tiny_process.py")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(here.parent)},
    )
    try:
        assert process.stdout
        # The training of the tiny tokenizer prints empty lines before it.
        port = next(line for line in map(str.strip, process.stdout) if line)
        address = f"http://127.0.0.1:{port}"
        body = chat(text_part("go on"), max_tokens=60, temperature=1, stream=True)
        with httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=60) as answer:
            lines = [line for line in stopped_after_one(answer, process) if line]
        assert lines[-1] == "data: [DONE]"
        assert process.wait(60) == 0
        assert process.stdout.read().strip() == "stopped"
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/healthz")
    finally:
        process.kill()


def stopped_after_one(answer: httpx.Response, process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines of a stream; after the first one the server gets SIGTERM."""
    for number, line in enumerate(answer.iter_lines()):
        if number == 0:
            process.send_signal(signal.SIGTERM)
        yield line


def test_a_taken_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(V2LError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen(ServerSettings(port=port))
    with pytest.raises(V2LError, match="cannot listen"):
        listen(ServerSettings(host="192.0.2.1", without_key=True))

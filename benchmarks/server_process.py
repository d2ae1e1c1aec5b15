"""options ──► a running `v2l serve` on a free port of loopback, for the benchmarks of the server."""

from __future__ import annotations

import base64
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import httpx

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"


def photograph_url(name: str = "hat/straw.jpg") -> str:
    """A sample photograph as a `data:` URL."""
    return f"data:image/jpeg;base64,{base64.b64encode((SAMPLES / name).read_bytes()).decode()}"


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """`v2l serve` as a process; it is stopped at the end of the block.

    Args:
        options: further options of the command.
    """

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [
            sys.executable,
            "-m",
            "v2l",
            "serve",
            "--offline",
            "--port",
            str(self.port),
            *options,
        ]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> float:
        """Start it: seconds until it was ready."""
        started = time.perf_counter()
        self.process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        for _ in range(3000):
            try:
                if httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200:
                    return time.perf_counter() - started
            except httpx.HTTPError:
                time.sleep(0.1)
            if not self.is_alive():
                break
        raise SystemExit(f"the server did not start:\n{self.log()}")

    def stop(self) -> int:
        """Stop it gracefully: its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(30)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def log(self) -> str:
        """All that it wrote."""
        self._log.seek(0)
        return self._log.read()

    def resident_bytes(self) -> int:
        """Its memory now."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * 4096

"""Ctrl-C is one line and exit code 130, whenever it comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PRESS = """
import signal, sys
moment = sys.argv.pop(1)
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Press())
from v2l.__main__ import main
main()
"""


@pytest.mark.parametrize("moment", ["typer", "v2l.cli.words", "torch", "v2l.pipeline.pipeline"])
def test_ctrl_c_while_importing(moment: str, samples: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        PRESS,
        moment,
        "inpaint",
        str(samples / "hat" / "straw.jpg"),
        "-o",
        str(tmp_path / "out.png"),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 130
    assert answer.stderr.startswith("v2l: stopped")
    assert len(answer.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())

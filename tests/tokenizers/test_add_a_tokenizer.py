"""docs/add-a-tokenizer.md, followed to the letter: every block is written to its file and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "import colours; from v2l.__main__ import main; main()"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A folder with the files of the page, each named by the first line of its block, and a photograph."""
    folder = tmp_path_factory.mktemp("page")
    page = (root / "docs" / "add-a-tokenizer.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", page, flags=re.DOTALL)
    assert [name for name, _ in blocks] == [
        "colours/model.py",
        "colours/__init__.py",
        "use.py",
        "test_colours.py",
    ]
    for name, code in blocks:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code, encoding="utf-8")
    shutil.copy(root / "data" / "samples" / "pants" / "tartan.jpg", folder / "photograph.jpg")
    run(folder, "use.py")
    return folder


def run(folder: Path, *args: str, status: int = 0) -> str:
    """Run Python in the page's folder; returns all that it printed."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "V2L_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, *args], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_the_script_writes_a_checkpoint_and_a_picture(place: Path) -> None:
    assert {"manifest.json", "model.safetensors", "README.md"} <= {
        path.name for path in (place / "checkpoint").iterdir()
    }
    assert (place / "explained.png").is_file()


def test_the_test_to_copy_passes(place: Path) -> None:
    assert "3 passed" in run(place, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_colours.py")


def test_its_words_are_printed_by_the_command_line(place: Path) -> None:
    printed = run(place, "-c", MAIN, "words", "photograph.jpg", "--tokenizer", "checkpoint")
    assert re.search(r"photograph\.jpg: (black|white|red|green|blue) 0\.\d\d", printed)


@pytest.mark.parametrize("command", ["reconstruct"])
def test_commands_that_need_more_refuse_it_and_name_those_that_can(place: Path, command: str) -> None:
    args = (command, "photograph.jpg", "--tokenizer", "checkpoint", "-o", "out.png")
    printed = run(place, "-c", MAIN, *args, status=1)
    assert "needs a decoder, which the tokenizer 'colours' does not have; allowed: v2l" in printed
    assert not (place / "out.png").exists()

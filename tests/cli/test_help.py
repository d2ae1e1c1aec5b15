"""Help answers at once: no command's help waits for torch or for a model."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from v2l.cli.app import COMMANDS
from v2l.cli.codebook.group import COMMANDS as CODEBOOKS
from v2l.cli.evaluate.group import COMMANDS as EVALUATIONS

HEAVY = ("torch", "transformers", "numpy", "PIL", "timm", "open_clip", "sentence_transformers", "accelerate")
SCRIPT = """
import contextlib, io, json, sys
sys.argv = ["v2l", *json.loads(sys.argv[1])]
from v2l.__main__ import main
text, code = io.StringIO(), 0
with contextlib.redirect_stdout(text):
    try:
        main()
    except SystemExit as error:
        code = error.code or 0
print(json.dumps({"text": text.getvalue(), "code": code, "modules": sorted(sys.modules)}))
"""


def run_v2l(*args: str) -> dict:
    """What `v2l ARGS` prints, its exit code, and every module that was imported on the way."""
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(args)], capture_output=True, text=True, check=True
    )
    return json.loads(answer.stdout)


HELP = [(command, "--help") for command in COMMANDS]
HELP += [("evaluate", "--help"), *(("evaluate", command, "--help") for command in EVALUATIONS)]
HELP += [("codebook", "--help"), *(("codebook", command, "--help") for command in CODEBOOKS)]


@pytest.mark.parametrize("args", [("--help",), ("--version",), *HELP], ids=" ".join)
def test_help_imports_nothing_heavy(args: tuple[str, ...]) -> None:
    answer = run_v2l(*args)
    assert answer["code"] == 0
    assert not set(HEAVY) & set(answer["modules"])
    assert "v2l" in answer["text"]


def test_the_root_lists_every_command() -> None:
    text = run_v2l("--help")["text"]
    assert all(command in text for command in (*COMMANDS, "evaluate", "codebook"))


def test_the_group_lists_every_evaluation() -> None:
    text = run_v2l("evaluate", "--help")["text"]
    assert all(command in text for command in EVALUATIONS)


def test_the_library_itself_imports_nothing_heavy() -> None:
    script = "import sys, v2l; dir(v2l); print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(HEAVY) & set(modules)

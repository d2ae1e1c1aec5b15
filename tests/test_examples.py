"""The examples of docs/examples are well-formed, and name commands and options that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from v2l.cli.app import app

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.sbatch")), ids=lambda path: path.name)
def test_scripts_parse(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("#!")
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_manifests_parse(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        assert {"apiVersion", "kind", "metadata", "spec"} <= document.keys()
        assert document["spec"]["entrypoint"].startswith("v2l tokenize")


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_options_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    (call,) = re.findall(r"v2l tokenize .*(?:\n +--.*)*", re.sub(r"#.*", "", text).replace(">-\n    ", ""))
    command = typer.main.get_command(app).commands["tokenize"]  # type: ignore[attr-defined]
    known = {name for parameter in command.params for name in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", call)) <= known


def test_the_gpu_script_says_that_there_is_no_gpu(root: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    subprocess.run(["bash", "-n", "benchmarks/gpu.sh"], cwd=root, check=True)
    result = subprocess.run(
        ["bash", "benchmarks/gpu.sh"], cwd=root, check=True, capture_output=True, text=True
    )
    assert "no GPU: torch sees no CUDA device here" in result.stdout

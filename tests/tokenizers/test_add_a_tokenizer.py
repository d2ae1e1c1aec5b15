"""docs/add-a-tokenizer.md, followed to the letter: every block is written to its file and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "import colours, mosaic; from v2l.__main__ import main; main()"


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
        "mosaic.py",
        "use_codes.py",
        "vectors.py",
        "use_vectors.py",
    ]
    for name, code in blocks:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code, encoding="utf-8")
    shutil.copy(root / "data" / "samples" / "pants" / "tartan.jpg", folder / "photograph.jpg")
    run(folder, "use.py")
    run(folder, "use_codes.py")
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
    assert re.search(r"photograph\.jpg: (black|white|red|green|blue) \(\d+ % of the image", printed)


@pytest.mark.parametrize("command", ["reconstruct"])
def test_commands_that_need_more_refuse_it_and_name_those_that_can(place: Path, command: str) -> None:
    args = (command, "photograph.jpg", "--tokenizer", "checkpoint", "-o", "out.png")
    printed = run(place, "-c", MAIN, *args, status=1)
    assert "needs a decoder, which the tokenizer 'colours' does not have; allowed: v2l" in printed
    assert not (place / "out.png").exists()


def test_codes_are_decoded_by_the_command_line(place: Path) -> None:
    printed = run(
        place,
        "-c",
        MAIN,
        "reconstruct",
        "photograph.jpg",
        "--tokenizer",
        "mosaic-checkpoint",
        "-o",
        "out.jpg",
    )
    assert "32 × 32 tokens" in printed
    assert float(re.search(r"PSNR ([\d.]+) dB", printed)[1]) > 12
    assert (place / "mosaic.png").is_file()
    assert (place / "out.jpg").is_file()


def test_codes_have_no_words(place: Path) -> None:
    printed = run(place, "-c", MAIN, "words", "photograph.jpg", "--tokenizer", "mosaic-checkpoint", status=1)
    assert "needs words for a whole image, which the tokenizer 'mosaic' does not have" in printed


VECTORS = """
import torch, v2l, vectors
vectors.VectorTokenizer(8).save_pretrained("small-vectors")
tokenizer = v2l.load_tokenizer("small-vectors", device="cpu")
image = v2l.load_image("photograph.jpg")
tokens = tokenizer.encode(image[None])
assert len(tokens.outlines()) == len(tokenizer.explain(image, tokens).words) == 16
tokens.embeddings.sum().backward()
print(tuple(tokens.embeddings.shape), bool(tokenizer.projection.weight.grad.norm() > 0))
"""


def test_vectors_have_the_width_and_a_gradient(place: Path) -> None:
    assert "(1, 16, 8) True" in run(place, "-c", VECTORS)


@pytest.mark.embedded
def test_the_loss_of_the_llm_reaches_the_vectors(place: Path) -> None:
    assert "tensor(True)" in run(place, "use_vectors.py")
    assert (place / "vectors-checkpoint" / "manifest.json").is_file()

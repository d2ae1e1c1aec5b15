"""Every block of code in docs/ works as it is written, and every page stands in the navigation of the site.

Blocks of Python and fenced lines of a shell are run. Other lines that call v2l are parsed by its own command
line: commands, options and values exist. A block that needs more than this machine has is marked in its page:
`<!-- not run: needs Ollama -->`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from document_blocks import DOCS, Block, all_blocks, blocks_of, pages
from typer.testing import CliRunner

from v2l.cli.app import app
from v2l.config import load_config

BLOCKS = list(all_blocks())
RUN_BY_OTHERS = {"add-a-tokenizer.md": "tests/tokenizers/test_add_a_tokenizer.py"}
LONG = {"build-codebook", "train", "train-lora", "serve"}  # hours, or endless: their own tests run them small
COMMANDS = [(block.page, arguments) for block in BLOCKS for arguments in block.commands()]


def to_run(page: str, language: str) -> list[Block]:
    """The blocks of a page that run here."""
    return [block for block in blocks_of(page) if block.language == language and not block.reason]


def shell_blocks() -> list[Block]:
    """The fenced blocks of a shell that run here, each text once; without the commands that take long."""
    blocks = {block.text: block for page in pages() for block in to_run(page, "sh") if block.commands()}
    return [block for block in blocks.values() if not any(LONG & set(line) for line in block.commands())]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A folder with what the pages name: photo.jpg, photograph.jpg, photos/ with classes, mine/ with support and query."""
    samples, place = root / "data" / "samples", tmp_path_factory.mktemp("docs")
    (place / "data").symlink_to(root / "data")
    for name in ("photo.jpg", "photograph.jpg"):
        shutil.copy(samples / "shoes" / "boots.jpg", place / name)
    for name in ("dress/blue", "dress/pink", "shoes/boots", "shoes/sandals"):
        for folder in ("photos", "mine/support"):
            (place / folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(samples / f"{name}.jpg", place / folder / f"{name}.jpg")
    (place / "mine" / "query").mkdir()
    shutil.copy(samples / "shoes" / "ballerinas.jpg", place / "mine" / "query" / "new.jpg")
    return place


@pytest.fixture(scope="module")
def encoder_once() -> Callable[..., Any]:
    """The embedded encoder, read once for all pages."""
    from v2l.encoders.conse import load_conse

    return cache(load_conse)


@pytest.fixture
def place(
    photographs: Path,
    encoder_once: Callable[..., Any],
    pipeline_loaded_once: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The working directory of a reader."""
    monkeypatch.setattr("v2l.encoders.conse.load_conse", encoder_once)
    monkeypatch.chdir(photographs)
    return photographs


@pytest.fixture(scope="module")
def silent_command_line() -> Any:
    """The command line whose commands do nothing: what is left is the parsing of arguments."""

    def silence(command: Any) -> None:
        command.callback = lambda **_: None
        for inner in getattr(command, "commands", {}).values():
            silence(inner)

    command_line = typer.main.get_command(app)
    silence(command_line)
    return command_line


@pytest.mark.parametrize(("page", "arguments"), COMMANDS, ids=lambda part: str(part)[:60])
def test_commands_are_spelt_right(page: str, arguments: list[str], silent_command_line: Any) -> None:
    # A wrong spelling raises, as the next test shows; a command that does nothing returns nothing.
    assert silent_command_line.main(arguments, prog_name="v2l", standalone_mode=False) is None


def test_wrong_commands_would_be_found(silent_command_line: Any) -> None:
    for wrong in (["word", "a.jpg"], ["words", "a.jpg", "--colour"], ["words", "a.jpg", "--count", "many"]):
        with pytest.raises(Exception, match=r"No such|valid integer"):
            silent_command_line.main(wrong, prog_name="v2l", standalone_mode=False)


def unseen(expected: list[str], printed: str) -> list[str]:
    """The expected lines that were not printed; figures may differ, and `…` stands for anything."""

    def plain(text: str) -> str:
        return re.sub(r"-?\d[\d.,]*", "#", text)

    lines = [re.escape(plain(line)).replace("…", ".*") for line in expected if line.strip()]
    return [line for line in lines if not re.search(line, plain(printed))]


@pytest.mark.embedded
@pytest.mark.parametrize("block", shell_blocks(), ids=lambda block: f"{block.page}-{block.number}")
def test_shell_lines_run(block: Block, place: Path) -> None:
    printed = ""
    for arguments in block.commands():
        answer = CliRunner().invoke(app, arguments)
        assert answer.exit_code == 0, answer.output
        printed += answer.output
        written = [after for option, after in pairwise(arguments) if option == "-o"]
        assert all((place / name).exists() for name in written)
    assert not unseen(block.output, printed), printed


PYTHON_PAGES = [page for page in pages() if to_run(page, "python") and page not in RUN_BY_OTHERS]


@pytest.mark.embedded
@pytest.mark.parametrize("page", PYTHON_PAGES)
def test_python_runs(page: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for block in to_run(page, "python"):
        exec(compile(block.text, f"{page}, block {block.number}", "exec"), names)
        assert not unseen(block.output, capsys.readouterr().out)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "python"], ids=lambda b: b.page
)
def test_python_compiles(block: Block) -> None:
    assert compile(block.text, block.page, "exec").co_filename == block.page


def test_settings_and_data_are_read(tmp_path: Path) -> None:
    for block in BLOCKS:
        if block.language == "json" and not block.reason:
            assert json.loads(block.text)
        if block.language == "yaml" and "extends:" in block.text:
            (tmp_path / "my.yaml").write_text(block.text, encoding="utf-8")
            load_config(tmp_path / "my.yaml")


def test_blocks_that_do_not_run_say_why(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reasons = Counter(block.reason for block in BLOCKS if block.reason)
    languages = Counter(block.language for block in BLOCKS)
    with capsys.disabled():
        print(f"\nblocks of docs/ by language: {dict(languages)}; not run here: {dict(reasons)}")
    assert all(reason.startswith("needs ") for reason in reasons)
    assert all((root / test).is_file() for test in RUN_BY_OTHERS.values())


def test_every_fence_names_its_language() -> None:
    assert [f"{block.page}, block {block.number}" for block in BLOCKS if not block.language] == []


def in_navigation(entry: Any) -> set[str]:
    """The pages below an entry of the navigation."""
    if isinstance(entry, str):
        return {entry}
    inner = entry.values() if isinstance(entry, dict) else entry
    return {page for part in inner for page in in_navigation(part)}


@pytest.mark.parametrize("page", [page for page in pages() if page != "README.md"])
def test_every_page_is_in_the_navigation(page: str, root: Path) -> None:
    site = yaml.safe_load((root / "mkdocs.yml").read_text(encoding="utf-8"))
    assert page in in_navigation(site["nav"]), f"add a line with {page} under nav in mkdocs.yml"


@pytest.mark.parametrize(
    "page", [page for page in pages() if "/" not in page and page not in ("README.md", "index.md")]
)
def test_every_page_of_the_folder_is_in_its_list(page: str) -> None:
    assert f"]({page})" in (DOCS / "README.md").read_text(encoding="utf-8")

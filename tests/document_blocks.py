"""pages of docs/ ──► their blocks of code, and lines of a shell ──► the arguments of v2l."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+?) -->\s*\n)?^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
INDENTED = re.compile(r"(?<=\n\n)((?: {4}[^\n]*\n)+)")
# `v2l`, also behind variables, a path, a prompt, torchrun or python -m; the rest of the line are its arguments
COMMAND = re.compile(
    r"^(?:\$ )?(?:\w+=\S+ )*(?:\S*/)?(?:(?:torchrun|python)\b.*? -m )?v2l (?P<arguments>.*)$"
)


@dataclass
class Block:
    """One block of code.

    Attributes:
        page: its page, relative to docs/.
        number: its place on the page, from 1.
        language: sh, python, text, …; "indented" for a block without a fence.
        text: the lines.
        reason: why it cannot run on a machine of the tests; "" for a block that runs.
        output: the lines of the `text` block that follows it: what it prints.
    """

    page: str
    number: int
    language: str
    text: str
    reason: str = ""
    output: list[str] = field(default_factory=list)

    def commands(self) -> list[list[str]]:
        """The arguments of every line that calls v2l."""
        lines = self.text.replace("\\\n", " ").splitlines()
        found = [COMMAND.match(line.strip()) for line in lines]
        return [shlex.split(line["arguments"], comments=True) for line in found if line]


def pages() -> list[str]:
    """Every page of docs/, relative to it."""
    return sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page; a `text` block belongs to the block that ends right before it."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for fence in FENCE.finditer(text):
        follows = found and not text[end : fence.start()].strip()
        end = fence.end()
        if fence["language"] == "text" and follows and found[-1].language in ("sh", "python"):
            found[-1].output += fence["text"].splitlines()
        else:
            found.append(read_block(page, len(found) + 1, fence))
    plain = FENCE.sub("", text)
    return [*found, *(Block(page, 0, "indented", block) for block in INDENTED.findall(plain))]


def read_block(page: str, number: int, fence: re.Match[str]) -> Block:
    """A fenced block; in a `console` block, lines that begin with `$ ` are commands and the others are output."""
    language, text, output = fence["language"], fence["text"], []
    if language == "console":
        output = [line for line in text.splitlines() if not line.startswith("$ ")]
        text = "".join(line for line in text.splitlines(keepends=True) if line.startswith("$ "))
    language = "sh" if language in ("bash", "console", "shell") else language
    return Block(page, number, language, text, fence["reason"] or "", output)


def all_blocks() -> Iterator[Block]:
    """The blocks of all pages."""
    for page in pages():
        yield from blocks_of(page)

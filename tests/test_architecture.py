"""The architecture: imports go down the layers, and each outside package has allowed importers.

Both rules are tables of docs/architecture.md; these tests compare the code with them.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "v2l"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "cli").rglob("*.py")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OPEN_TO_ALL = {"torch", "torchvision", "numpy"}  # every file may import these


def table(heading: str) -> list[list[str]]:
    """The cells of the rows under one heading of docs/architecture.md, without the two head rows."""
    section = (
        (ROOT / "docs" / "architecture.md")
        .read_text(encoding="utf-8")
        .split(f"## {heading}")[1]
        .split("\n## ")[0]
    )
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@cache
def layers() -> dict[str, int]:
    """Part ──► layer."""
    return {part: int(layer) for layer, parts, _ in table("Layers") for part in parts.split(", ")}


def allowed_importers() -> dict[str, list[str]]:
    """Outside package ──► files, or folders with a slash at the end."""
    return {
        package: [] if where == "nobody" else where.split(", ")
        for package, where, _ in table("Allowed importers")
    }


def imports(path: Path) -> Iterator[str]:
    """The dotted name of everything that a file imports, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    """The part that a file belongs to: `v2l/llm/frozen.py` is llm, `cli/app.py` is cli, `v2l/zoo.py` is zoo."""
    return (
        part_named(path.relative_to(PACKAGE).with_suffix("").parts) if path.is_relative_to(PACKAGE) else "cli"
    )


def part_named(names: Sequence[str]) -> str:
    """The longest part that a dotted name lies in: `tokenizers.grid.model` is tokenizers/grid."""
    longest_first = ["/".join(names[:length]) for length in range(len(names), 0, -1)]
    return next((name for name in longest_first if name in layers()), names[0])


def parts_imported(path: Path) -> set[str]:
    """The parts of v2l that a file imports."""
    return {part_named(name.split(".")[1:]) for name in imports(path) if name.startswith("v2l.")}


# A file that is a docstring alone (v2l/tasks/__init__.py) has no layer.
ENTRANCES = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}
INSIDE = [path for path in SOURCES if path not in ENTRANCES and any(imports(path))]


def test_every_part_has_a_layer() -> None:
    assert {part_of(path) for path in INSIDE} <= layers().keys()


@pytest.mark.parametrize("path", INSIDE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_down_the_layers(path: Path) -> None:
    own = part_of(path)
    upward = {part for part in parts_imported(path) - {own} if layers()[part] >= layers()[own]}
    assert not upward, f"{own} (layer {layers()[own]}) imports {', '.join(sorted(upward))}"


@pytest.mark.parametrize("folder", ["tokenizers", "codebook"])
def test_image_tokens_never_see_the_llm(folder: str) -> None:
    assert all("llm" not in parts_imported(path) for path in (PACKAGE / folder).rglob("*.py"))


def test_prompts_are_plain_data() -> None:
    for path in (PACKAGE / "prompts").glob("*.py"):
        assert parts_imported(path) <= {"errors", "places", "tokens", "prompts"}
        assert {name.split(".")[0] for name in imports(path)} - {"v2l"} <= sys.stdlib_module_names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_outside_packages_are_imported_by_allowed_importers_only(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    for package in (
        {name.split(".")[0] for name in imports(path)} - {"v2l"} - OPEN_TO_ALL - sys.stdlib_module_names
    ):
        allowed = allowed_importers().get(package)
        assert allowed is not None, f"{package} has no row in the table of allowed importers"
        assert any(
            place == importer or (importer.endswith("/") and place.startswith(importer))
            for importer in allowed
        ), f"{place} imports {package}"


def test_allowed_importers_import_the_package() -> None:
    for package, places in allowed_importers().items():
        for place in places:
            files = sorted((ROOT / place).rglob("*.py")) if place.endswith("/") else [ROOT / place]
            assert files, f"{place} is no folder with modules"
            used = {name.split(".")[0] for file in files for name in imports(file)}
            assert package in used, f"{place} may import {package} and does not"


def test_ruff_bans_the_packages_of_the_table() -> None:
    banned = PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert allowed_importers().keys() == banned.keys()


def test_every_package_is_installed() -> None:
    folders = {path.parent for path in SOURCES if path.is_relative_to(PACKAGE)}
    cli = {path.parent for path in SOURCES if not path.is_relative_to(PACKAGE)}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    packages |= {".".join(("v2l", *folder.relative_to(ROOT).parts)) for folder in cli} | {"v2l.configs"}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages
    assert all((folder / "__init__.py").is_file() for folder in folders)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_open_with_their_arrow(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, "the first line of a module says what it turns into what"
    first = docstring.splitlines()[0]
    assert len(first) <= 140
    assert any(arrow in first for arrow in ("──►", "⇄", ":")), f"no arrow in {first!r}"


def test_no_catch_all_names() -> None:
    vague = {"utils", "misc", "common", "helpers", "stage1", "legacy"}
    assert not {part for path in SOURCES for part in (path.stem, path.parent.name)} & vague

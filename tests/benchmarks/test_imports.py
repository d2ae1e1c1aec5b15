"""Every name that a script of benchmarks/ or docs/ imports from v2l exists, although no test runs the script."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for folder in ("benchmarks", "docs") for path in (ROOT / folder).rglob("*.py"))


def exists(module: str, name: str) -> bool:
    """Whether `from module import name` works."""
    return find_spec(module) is not None and (
        hasattr(import_module(module), name) or find_spec(f"{module}.{name}") is not None
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_imported_names_exist(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("v2l"):
            assert [alias.name for alias in node.names if not exists(str(node.module), alias.name)] == []

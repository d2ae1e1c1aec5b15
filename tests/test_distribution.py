"""The wheel: one package, `v2l`, with its commands, presets, types and shipped checkpoint inside."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel_names(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files of a wheel that is built from a copy of the sources."""
    copy, target = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in ("v2l", "cli", "configs"):
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(root / name, copy / name)
    subprocess.run([sys.executable, "-c", BUILD, str(target)], cwd=copy, check=True, capture_output=True)
    (wheel,) = target.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_nothing_lands_outside_the_package(wheel_names: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel_names} == {"v2l", "v2l-0.1.0.dist-info"}


def test_every_source_file_is_inside(wheel_names: list[str], root: Path) -> None:
    modules = [path.relative_to(root).as_posix() for path in (root / "v2l").rglob("*.py")]
    commands = [f"v2l/cli/{path.name}" for path in (root / "cli").glob("*.py")]
    presets = [f"v2l/configs/{path.name}" for path in (root / "configs").glob("*.yaml")]
    assert presets
    assert {*modules, *commands, *presets, "v2l/py.typed"} <= set(wheel_names)


def test_the_checkpoint_ships(wheel_names: list[str], root: Path) -> None:
    shipped = [
        path.relative_to(root).as_posix() for path in (root / "v2l" / "weights").rglob("*") if path.is_file()
    ]
    assert "v2l/weights/small/manifest.json" in shipped
    assert set(shipped) <= set(wheel_names)

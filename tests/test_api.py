"""The public names: loaded lazily, and as short as the commands."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest

import v2l


def test_public_names_and_their_homes_agree() -> None:
    assert list(v2l.HOMES) == v2l.__all__
    assert set(v2l.__all__) <= set(dir(v2l))


@pytest.mark.parametrize("name", v2l.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(v2l, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="wrods"):
        v2l.wrods  # noqa: B018


@pytest.mark.embedded
@pytest.mark.parametrize(
    "name", [name for name in v2l.__all__ if ">>>" in (inspect.getdoc(getattr(v2l, name)) or "")]
)
def test_examples_run(name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").symlink_to(root / "data")
    monkeypatch.chdir(tmp_path)  # where the examples may write
    tests = [
        test for test in doctest.DocTestFinder(recurse=False).find(getattr(v2l, name), name) if test.examples
    ]
    results = [doctest.DocTestRunner().run(test) for test in tests]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0

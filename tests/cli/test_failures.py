"""What the user can mend becomes one line; a bug keeps its traceback."""

from __future__ import annotations

import errno

import pytest

from v2l.cli.failures import STOPPED, explain
from v2l.errors import V2LError


def test_an_error_of_the_user_is_its_own_line() -> None:
    failure = explain(V2LError("there is no file a.png", "an image", "v2l words b.png"))
    assert failure is not None
    assert failure.line == "there is no file a.png; allowed: an image; try: v2l words b.png"
    assert failure.exit_code == 1


def test_ctrl_c_exits_as_a_shell_expects() -> None:
    failure = explain(KeyboardInterrupt())
    assert failure is not None
    assert failure.exit_code == STOPPED == 130


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_what_the_system_refuses_names_the_file(number: int) -> None:
    failure = explain(OSError(number, "no", "out/picture.png"))
    assert failure is not None
    assert "out/picture.png" in failure.line
    assert "\n" not in failure.line
    assert failure.exit_code == 1


def test_too_little_memory_is_one_line() -> None:
    failure = explain(MemoryError())
    assert failure is not None
    assert "memory" in failure.line


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), OSError(errno.EIO, "x"), RuntimeError("x")]
)
def test_a_bug_is_not_explained_away(error: Exception) -> None:
    assert explain(error) is None


def test_a_package_of_an_extra_is_named_with_the_line_that_installs_it() -> None:
    failure = explain(ModuleNotFoundError("No module named 'fastapi'", name="fastapi"))
    assert failure is not None
    assert failure.line == "the package fastapi is missing; try: pip install '.[serve]' in the checkout"
    assert explain(ModuleNotFoundError("No module named 'v2l.cli.gone'", name="v2l.cli.gone")) is None

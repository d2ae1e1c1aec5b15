"""Commands, run as a user types them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from v2l.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def run(pipeline_loaded_once: None) -> Run:
    """`v2l ARGS`, which must succeed."""

    def succeed(*args: object) -> Result:
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        assert result.exit_code == 0, result.output
        return result

    return succeed

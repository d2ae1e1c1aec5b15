"""v2l doctor: everything needed is here, and every missing part has its command."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.cli.doctor import Check, line, page

Run = Callable[..., Result]


@pytest.mark.embedded
def test_a_complete_machine_is_ready(run: Run) -> None:
    report = json.loads(run("doctor", "--json").stdout)
    assert report["ready"]
    assert report["stack"]["llm"] == "smollm2"
    assert {"torch", "transformers", "smollm2", "small"} <= {
        check["name"] for check in report["checks"] if check["found"]
    }
    assert all(check["run"] for check in report["checks"] if not check["found"])


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2l.cli.doctor.installed_version", lambda name: None if name == "timm" else "1.0")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    (timm,) = (check for check in json.loads(result.stdout)["checks"] if check["name"] == "timm")
    assert result.exit_code == 1
    assert not timm["found"]
    assert timm["run"].startswith('pip install "timm')


def test_people_read_what_is_missing() -> None:
    checks = [
        Check("packages", "torch", True, True, "2.14"),
        Check("embedded models", "minilm", False, True, "texts", "pip install x"),
    ]
    text = page(checks, ready=False)
    assert "packages: 1 of 1 here" in text
    assert "torch" not in text
    assert "bring it: pip install x" in text
    assert text.endswith("not ready: run the commands above")
    assert "bring it" not in line(checks[0])

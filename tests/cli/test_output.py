"""JSON alone on standard output when a program reads it."""

from __future__ import annotations

import json

import pytest

from v2l.cli.output import output


def test_json_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with output(as_json=True) as out:
        print("a package that prints")
        out.note("a remark")
        out.result({"word": "Straße"}, "for people")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"word": "Straße"}
    assert "a package that prints" in captured.err
    assert "a remark" in captured.err


def test_people_read_text(capsys: pytest.CaptureFixture[str]) -> None:
    with output(as_json=False) as out:
        print("a package that prints")
        out.result({"word": "dog"}, "dog 0.61")
    captured = capsys.readouterr()
    assert captured.out == "dog 0.61\n"
    assert "a package that prints" in captured.err


def test_no_number_that_json_lacks() -> None:
    with output(as_json=True) as out, pytest.raises(ValueError, match="JSON"):
        out.result({"score": float("nan")}, "")

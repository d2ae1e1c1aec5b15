"""v2l vqa: an answer an image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from v2l.cli.app import app

Run = Callable[..., Result]


@pytest.mark.embedded
def test_every_image_gets_an_answer_to_the_question(run: Run, samples: Path) -> None:
    images = [samples / "shoes" / "boots.jpg", samples / "pants" / "jeans.jpg"]
    records = [json.loads(line) for line in run("vqa", *images, "What is it?", "--json").stdout.splitlines()]
    assert [record["question"] for record in records] == ["What is it?"] * 2
    assert records[1]["answer"].lower() == "jeans"
    assert all(record["answer"] and record["words"] and record["stack"] for record in records)


@pytest.mark.parametrize("question", ["", "   "])
def test_an_empty_question_is_one_line(question: str, samples: Path) -> None:
    answer = CliRunner().invoke(app, ["vqa", str(samples / "hat" / "straw.jpg"), question])
    assert answer.exit_code == 1
    assert answer.stdout == ""
    assert "empty question" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1

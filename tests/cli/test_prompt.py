"""v2l prompt: the text for any LLM, and a server's answer to it; no LLM is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from tiny_server import saying, tiny_server
from typer.testing import CliRunner, Result

from v2l.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def no_llm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads an LLM fails."""

    def refuse(*args: object) -> NoReturn:
        raise AssertionError("an LLM was loaded")

    monkeypatch.setattr("v2l.pipeline.pipeline.LLMChoice.load", refuse)


@pytest.mark.embedded
def test_the_text_alone_is_printed(run: Run, no_llm: None, samples: Path) -> None:
    boots = samples / "shoes" / "boots.jpg"
    assert run("prompt", boots).stdout.startswith("Write one short sentence")
    text = run("prompt", boots, "--task", "vqa", "--question", "Is it red?", "--prompt", "paper").stdout
    assert text.startswith("Answer the question with a single word")
    assert text.count("Condition:") == 10
    assert text.endswith("Question: Is it red?. Answer:\n")


@pytest.mark.embedded
def test_to_classify_the_labels_are_named(run: Run, no_llm: None, samples: Path) -> None:
    record = json.loads(
        run(
            "prompt", samples / "hat" / "straw.jpg", "--task", "classify", "--support", samples, "--json"
        ).stdout
    )
    assert "'dress' or 'hat' or 'pants' or 'shoes'" in record["prompt"]
    assert [shot["label"] for shot in record["support"]] != sorted(
        shot["label"] for shot in record["support"]
    )
    assert "answer" not in record


@pytest.mark.embedded
def test_a_server_answers_the_very_prompt(run: Run, no_llm: None, samples: Path) -> None:
    args = ("prompt", samples / "hat" / "straw.jpg", "--task", "classify", "--support", samples, "--json")
    with tiny_server(saying("hat.", "no idea")) as server:
        first, second = (json.loads(run(*args, "--endpoint", server.url).stdout) for _ in range(2))
        text = run(*args[:2], "--endpoint", server.url).stdout
    assert server.requests[0]["messages"][0]["content"] == first["prompt"]
    assert (first["answer"], first["label"]) == ("hat.", "hat")
    assert second["label"] is None
    assert "exact match" in first["rule"]
    assert text == f"{args[1]}: no idea\n"


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("--task", "haiku"), "caption, vqa, classify"),
        (("--task", "classify"), "--support"),
        (("--endpoint", "https://llm.example.org/v1", "--offline"), "offline"),
    ],
)
def test_what_does_not_go_together_is_one_line(args: tuple[str, ...], part: str, samples: Path) -> None:
    answer = CliRunner().invoke(app, ["prompt", str(samples / "hat" / "straw.jpg"), *args])
    assert answer.exit_code == 1
    assert part in answer.stderr
    assert len(answer.stderr.splitlines()) == 1

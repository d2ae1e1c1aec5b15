"""v2l caption: a sentence an image, by the frozen LLM or by a server; what is wrong is one line."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_server import saying, tiny_server
from typer.testing import CliRunner, Result

from v2l.cli.app import app

Run = Callable[..., Result]


def refused(*args: object) -> str:
    """The one line of the error."""
    answer = CliRunner().invoke(app, ["caption", *map(str, args)])
    assert answer.exit_code == 1, answer.output
    assert answer.stdout == ""
    return answer.stderr.splitlines()[-1].removeprefix("v2l: ")


@pytest.mark.embedded
def test_captions_name_what_is_there_and_bad_files_are_listed(
    run: Run, samples: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    images = [samples / "shoes" / "boots.jpg", tmp_path / "bad.jpg", samples / "pants" / "jeans.jpg"]
    answer = run("caption", *images, "--json")
    boots, jeans = (json.loads(line) for line in answer.stdout.splitlines())
    assert "boot" in boots["caption"].lower()
    assert "denim" in jeans["caption"].lower()
    assert boots["settings"]["n_words"] == len(boots["words"])
    assert boots["ranked_by"] is None
    assert {"encoder", "llm", "llm_fingerprint", "checkpoint"} <= boots["stack"].keys()
    assert "skipped 1" in answer.stderr
    assert "bad.jpg" in answer.stderr


@pytest.mark.embedded
def test_a_server_captions_and_candidates_are_ranked(run: Run, samples: Path) -> None:
    with tiny_server(saying("An airplane.", "A pair of boots.", "A dog.")) as server:
        answer = run(
            "caption",
            samples / "shoes" / "boots.jpg",
            "--endpoint",
            server.url,
            "--candidates",
            3,
            "--json",
            "--offline",
        )
    record = json.loads(answer.stdout)
    assert record["caption"] == "A pair of boots"
    assert len(record["candidates"]) == 3
    assert "cosine" in record["ranked_by"]
    assert record["stack"]["llm"] == "tiny-chat"
    assert record["stack"]["endpoint"] == server.url


@pytest.mark.embedded
def test_a_malformed_examples_file_is_one_line(
    pipeline_loaded_once: None, samples: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text('[{"caption": "A hat."}]')
    line = refused(samples / "hat" / "straw.jpg", "--examples", tmp_path / "mine.json")
    assert "mine.json, line 1: the keys 'words' and 'image' are missing" in line
    assert "nowhere.json" in refused(samples / "hat" / "straw.jpg", "--examples", "nowhere.json")


@pytest.mark.embedded
def test_nothing_but_unreadable_files_is_one_line(pipeline_loaded_once: None, tmp_path: Path) -> None:
    assert "none of 1 file(s) could be read" in refused(tmp_path / "gone.jpg")


@pytest.mark.embedded
def test_a_server_that_is_down_is_one_line(pipeline_loaded_once: None, samples: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    assert "cannot be reached" in refused(samples / "hat" / "straw.jpg", "--endpoint", url)


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("--endpoint", "https://llm.example.org/v1", "--offline"), "offline"),
        (("--endpoint", "localhost"), "http or https"),
        (("--endpoint-model", "mine"), "without a server"),
        (("--candidates", 0), "got 0 candidates"),
        (("--words", 0), "got 0 words"),
        (("--checkpoint", "nowhere"), "nowhere"),
    ],
)
def test_wrong_options_are_one_line(args: tuple[object, ...], part: str, samples: Path) -> None:
    assert part in refused(samples / "hat" / "straw.jpg", *args)

"""Restoration commands: pictures of the right size, records, shared options, and bad input in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.images import load_image, save_image

Run = Callable[..., Result]


def refused(*args: object) -> str:
    """The one line that a command is refused with."""
    answer = CliRunner().invoke(app, [str(arg) for arg in args])
    assert answer.exit_code == 1, answer.output
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    return line.removeprefix("v2l: ")


@pytest.fixture
def small(samples: Path, tmp_path: Path) -> Path:
    """A photograph of 96 × 112 pixels."""
    path = tmp_path / "small.png"
    save_image(load_image(samples / "pants" / "tartan.jpg")[:, :112, :96], path)
    return path


@pytest.mark.embedded
def test_outpainting_grows_the_picture_and_keeps_it(run: Run, small: Path, tmp_path: Path) -> None:
    out, page, tokens = (tmp_path / name for name in ("out.png", "page.png", "tokens.json"))
    command = (
        "outpaint",
        small,
        "--right",
        12,
        "-o",
        out,
        "--page",
        page,
        "--tokens",
        tokens,
        "--set",
        "n_context=4",
        "--set",
        "n_predict=6",
        "--json",
    )
    record = json.loads(run(*command, "--candidates", 2, "--temperature", 1).stdout)
    before, after = load_image(small), load_image(out)
    assert after.shape == (3, 112, 108)
    assert torch.equal(after[:, :, :96], before)
    assert record["protocol"] == "blind"
    assert len(record["candidates"]) == 2
    assert record["settings"]["n_context"] == 4
    assert (
        sum(len(window["ids"]) for window in record["windows"])
        == record["predicted_tokens"]
        == record["told"]
        == record["masked_cells"]
    )
    (grid,) = json.loads(tokens.read_text())["local_ids"]
    assert len(grid) * len(grid[0]) > record["predicted_tokens"]
    assert load_image(page).shape[2] > 2 * 300


@pytest.mark.embedded
def test_deblurring_keeps_the_size_and_reports_its_estimate(
    run: Run, small: Path, tmp_path: Path, samples: Path
) -> None:
    out = tmp_path / "sharp.png"
    command = (
        "deblur",
        small,
        "-o",
        out,
        "--examples",
        samples / "pants" / "jeans.jpg",
        "--set",
        "n_predict=8",
        "--set",
        "n_examples=2",
        "--json",
    )
    record = json.loads(run(*command).stdout)
    assert load_image(out).shape == (3, 112, 96)
    assert record["corruption"].startswith("blur {'kernel':")
    assert record["predicted_tokens"] == sum(len(window["cells"]) for window in record["windows"])


@pytest.mark.embedded
def test_evaluation_prints_both_the_llm_and_the_vote(run: Run, samples: Path, tmp_path: Path) -> None:
    command = (
        "evaluate",
        "restoration",
        samples / "hat",
        "--limit",
        2,
        "--windows",
        1,
        "--tasks",
        "inpaint,deblur",
    )
    report = json.loads(run(*command, "--log", tmp_path / "log.jsonl", "--json").stdout)
    assert report["protocol"] == "paper"
    assert report["n"] == 2
    assert report["baselines"]["deblur"]["plurality vote"]["token_accuracy"]["value"] > 0.7
    assert 0 <= report["metrics"]["inpaint"]["token_accuracy"]["value"] <= 1
    assert "plurality vote" in run(*command, "--log", tmp_path / "log.jsonl").stdout


@pytest.mark.embedded
def test_the_official_protocol_turns_all_of_its_switches_on(run: Run, samples: Path) -> None:
    command = (
        "evaluate",
        "restoration",
        samples / "hat",
        "--protocol",
        "official",
        "--limit",
        1,
        "--windows",
        1,
        "--tasks",
        "unshift",
    )
    report = json.loads(run(*command, "--json").stdout)
    prediction = report["settings"]["cases"]["prediction"]
    assert (
        report["protocol"],
        prediction["prompt"],
        prediction["n_before"],
        prediction["num_candidates"],
    ) == (
        "official",
        "official",
        0,
        0,
    )


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("outpaint",), "--right 64"),
        (("outpaint", "--left", -3), "0 and more"),
        (("inpaint", "--protocol", "paper"), "v2l evaluate restoration"),
        (("deblur", "--protocol", "magic"), "blind"),
        (("inpaint", "--candidates", 3), "--temperature 1"),
        (("inpaint", "--set", "charm=3"), "n_context="),
        (("inpaint", "--set", "draws=many"), "int"),
        (("inpaint", "--order", "spiral"), "raster, centre-out"),
        (("inpaint", "--page", "page.xyz"), ".xyz"),
        (("unshift", "--by", "3"), "down,right"),
        (("unshift", "--by", "3,999"), "96 columns"),
        (("deblur", "--examples", "nowhere"), "nowhere"),
        (("inpaint", "--tiles"), "without --tiles"),
        (("inpaint", "--adapter", "nowhere"), "nowhere"),
    ],
    ids=str,
)
def test_what_cannot_be_restored_is_one_line(
    pipeline_loaded_once: None, args: tuple[object, ...], part: str, small: Path
) -> None:
    name, *rest = args
    assert part in refused(name, small, *rest)


def test_a_tiny_picture_cannot_be_deblurred(pipeline_loaded_once: None, tmp_path: Path) -> None:
    save_image(torch.rand(3, 8, 8), tmp_path / "tiny.png")
    assert "a larger image" in refused("deblur", tmp_path / "tiny.png")


def test_a_photograph_is_no_mask(samples: Path, small: Path, tmp_path: Path) -> None:
    save_image(torch.full((3, 112, 96), 0.5), tmp_path / "grey.png")
    assert "not black and white" in refused("inpaint", small, "--mask", tmp_path / "grey.png")


@pytest.mark.parametrize(
    ("args", "part"),
    [
        (("--tasks", "juggle"), "inpaint, outpaint, deblur"),
        (("--protocol", "magic"), "paper, official, blind"),
        (("-o", "page.png"), "--windows 0"),
        (("-o", "page.xyz", "--windows", 0), ".xyz"),
        (("--set", "n_examples=-1"), "0 and more"),
        (("--settings", "golden"), "plain, blind, adapter, fast, strong"),
        (("--adapter", "runs/adapter"), "--protocol blind"),
        (("--protocol", "official", "--adapter", "runs/adapter"), "--protocol blind"),
        (("--protocol", "blind", "--examples", "data/samples/hat"), "both measured and examples"),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_one_line(
    args: tuple[object, ...], part: str, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(samples.parents[1])
    assert part in refused("evaluate", "restoration", "data/samples", *args)


def test_blind_evaluation_without_examples_names_the_option(
    pipeline_loaded_once: None, samples: Path
) -> None:
    assert "--examples FOLDER" in refused(
        "evaluate", "restoration", samples, "--protocol", "blind", "--limit", 2
    )

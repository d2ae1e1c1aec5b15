"""Each command that gives words of images says beside them which images have too little to see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_words_tokenizer import QuarterTokenizer
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.images import load_image, save_image
from v2l.pipeline.pipeline import Pipeline

Run = Callable[..., Result]
COLOUR = "little to see: the part that is read is one colour or an even gradient"
PIXEL = "little to see: 1 × 1 pixels, at least 8 × 8 are needed; the words are a guess"
FEW = ("--words", 2, "--shots", 0)


@pytest.fixture(params=["v2l", "tiny-quarters"])
def run(
    request: pytest.FixtureRequest, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, own_cache: None
) -> Run:
    """`v2l ARGS` with tiny models, which must succeed; once with the grid, once with another tokenizer."""
    other = Pipeline(QuarterTokenizer(), pipeline.llm)
    used = pipeline if request.param == "v2l" else other
    monkeypatch.setattr(Pipeline, "load", lambda *_, **__: used)

    def succeed(*args: object) -> Result:
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        assert result.exit_code == 0, result.output
        return result

    return succeed


@pytest.fixture
def hat(samples: Path) -> Path:
    """An ordinary photograph."""
    return samples / "hat" / "straw.jpg"


@pytest.fixture
def pixel(tmp_path: Path) -> Path:
    """An image of 1 × 1 pixels."""
    save_image(torch.full((3, 1, 1), 0.3), tmp_path / "pixel.png")
    return tmp_path / "pixel.png"


@pytest.fixture
def blue(tmp_path: Path) -> Path:
    """An image of one colour."""
    save_image(torch.tensor([0.1, 0.2, 0.9])[:, None, None].expand(3, 60, 90), tmp_path / "blue.png")
    return tmp_path / "blue.png"


def records(result: Result) -> list[dict]:
    """The lines of JSON."""
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    ("command", "options"),
    [(("words",), ("--count", 2)), (("caption",), FEW), (("vqa",), FEW)],
    ids=["words", "caption", "vqa"],
)
def test_the_note_is_below_the_words_of_its_image(
    command: tuple[str], options: tuple, run: Run, hat: Path, pixel: Path, blue: Path
) -> None:
    places = (pixel, hat, blue, *(["What is it?"] if command == ("vqa",) else []))
    lines = run(*command, *places, *options).stdout.rstrip("\n").split("\n")  # a tiny LLM may write others
    assert len(lines) == 5
    first, small, ordinary, second, colour = lines
    assert (first.split(":")[0], small) == (str(pixel), f"  {PIXEL}")
    assert ordinary.startswith(f"{hat}: ")
    assert second.startswith(f"{blue}: ")
    assert colour.startswith(f"  {COLOUR}")
    found = records(run(*command, *places, *options, "--json"))
    assert [record["image"] for record in found] == [str(pixel), str(hat), str(blue)]
    assert all(record["words"] for record in found)
    assert found[0]["note"] == PIXEL
    assert found[1]["note"] is None
    assert found[2]["note"].startswith(COLOUR)


def test_a_prompt_for_pasting_stays_clean(run: Run, hat: Path, blue: Path) -> None:
    result = run("prompt", blue, *FEW)
    assert "little to see" not in result.stdout
    assert f"{blue}: {COLOUR}" in result.stderr
    (record,) = records(run("prompt", blue, *FEW, "--json"))
    assert record["note"].startswith(COLOUR)
    ordinary = run("prompt", hat, *FEW, "--json")
    assert records(ordinary)[0]["note"] is None
    assert "little to see" not in ordinary.stderr


def class_folders(folder: Path, samples: Path, **extra: Path) -> Path:
    """Two classes with a photograph each, and an extra file in some of them."""
    for label in ("hat", "shoes"):
        (folder / label).mkdir(parents=True)
        save_image(load_image(min((samples / label).iterdir())), folder / label / "a.png")
        if label in extra:
            save_image(load_image(extra[label]), folder / label / "b.png")
    return folder


def test_labelled_images_of_a_prompt_are_named(
    run: Run, hat: Path, samples: Path, blue: Path, tmp_path: Path
) -> None:
    folder = class_folders(tmp_path / "labelled", samples)
    save_image(load_image(blue), folder / "shoes" / "a.png")
    result = run("prompt", hat, "--task", "classify", "--support", folder, "--words", 2, "--json")
    (record,) = records(result)
    assert record["note"] is None
    notes = {shot["label"]: shot["note"] for shot in record["support"]}
    assert notes["hat"] is None
    assert notes["shoes"].startswith(COLOUR)
    assert f"{folder / 'shoes' / 'a.png'}: {COLOUR}" in result.stderr


def test_queries_and_examples_of_fewshot_classify_are_named(
    run: Run, samples: Path, pixel: Path, blue: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    class_folders(folder / "support", samples, shoes=blue)
    (folder / "query").mkdir()
    pixel.rename(folder / "query" / "pixel.png")
    save_image(load_image(samples / "hat" / "straw.jpg"), folder / "query" / "hat.png")
    noted = [folder / "support" / "shoes" / "b.png", folder / "query" / "pixel.png"]
    options = ("--words", 2, "--rule", "alone")
    lines = run("fewshot-classify", folder, *options).stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == [
        str(folder / "query" / name) for name in ("hat.png", "pixel.png")
    ]
    assert lines[2].startswith(f"{noted[0]}: {COLOUR}")
    assert lines[3:] == [f"{noted[1]}: {PIXEL}"]
    (report,) = records(run("fewshot-classify", folder, *options, "--json"))
    assert [entry["image"] for entry in report["notes"]] == [str(path) for path in noted]
    assert len(report["predictions"]) == 2


def test_fewshot_classify_without_such_images_has_no_note(run: Run, samples: Path) -> None:
    (report,) = records(
        run("fewshot-classify", samples, "--episodes", 2, "--words", 2, "--rule", "alone", "--json")
    )
    assert report["notes"] == []

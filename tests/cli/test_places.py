"""Words with places on the command line: `v2l words -o`, regions of a user's own, and `v2l ask`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_llm import tiny_llm
from tiny_pipeline import tiny_pipeline
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.images import load_image
from v2l.pipeline.pipeline import Pipeline
from v2l.tokenizers.regions.model import RegionSettings, RegionTokenizer
from v2l.tokenizers.slices.model import SliceTokenizer

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`v2l ARGS` with tiny tokenizers in place of those that ship."""
    llm = tiny_llm(4096)
    namer = tiny_pipeline().grid.tagger
    made = {
        "slices": lambda: SliceTokenizer(namer=namer),
        "groma": lambda: RegionTokenizer(RegionSettings(most=4), namer=namer),
        None: lambda: tiny_pipeline().grid,
    }
    monkeypatch.setattr(
        Pipeline, "load", classmethod(lambda cls, name=None, *_: cls(made[name](), llm, "shipped"))
    )
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


def test_each_word_is_printed_with_its_place(run: Run, samples: Path) -> None:
    result = run("words", samples / "shoes" / "boots.jpg", "--tokenizer", "slices")
    assert result.exit_code == 0, result.output
    assert "(whole image); " in result.stdout
    assert " %, " in result.stdout
    assert "each word with its part of the image" in result.stderr


def test_json_has_share_box_and_position(run: Run, samples: Path) -> None:
    result = run("words", samples / "shoes" / "boots.jpg", "--tokenizer", "groma", "--json", "-n", 2)
    record = json.loads(result.stdout)
    assert 1 <= len(record["words"]) <= 2
    word = record["words"][0]
    assert word["name"] == "<r0>"
    assert {"word", "score", "share", "box", "centre", "position", "token"} <= word.keys()
    assert record["stack"]["tokenizer"] == "groma"


def test_a_picture_of_one_image_is_a_file_and_of_several_a_folder(
    run: Run, samples: Path, tmp_path: Path
) -> None:
    image = samples / "shoes" / "boots.jpg"
    assert run("words", image, "--tokenizer", "groma", "-o", tmp_path / "one.png").exit_code == 0
    assert max(load_image(tmp_path / "one.png").shape) == 768
    assert run("words", image, image, "--tokenizer", "slices", "-o", tmp_path / "many").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == ["boots-2.png", "boots.png"]
    assert run("words", image, "-o", tmp_path / "grid.png").exit_code == 0


@pytest.mark.parametrize(
    ("images", "target", "message"),
    [(1, "picture.txt", "is no image format"), (2, "picture.png", "got -o .*picture.png for 2 images")],
)
def test_a_bad_target_is_refused_before_any_work(
    run: Run, samples: Path, tmp_path: Path, images: int, target: str, message: str
) -> None:
    files = [samples / "shoes" / "boots.jpg"] * images
    result = run("words", *files, "-o", tmp_path / target)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert __import__("re").search(message, result.stderr)


def test_boxes_of_ones_own_come_from_options_and_files(run: Run, samples: Path, tmp_path: Path) -> None:
    image = samples / "shoes" / "boots.jpg"
    file = tmp_path / "boxes.json"
    file.write_text("[[0, 0, 50, 50]]", encoding="utf-8")
    result = run("words", image, "--tokenizer", "groma", "--box", "10,10,100,90", "--boxes", file, "--json")
    assert [word["name"] for word in json.loads(result.stdout)["words"]] == ["<r0>", "<r1>"]
    for args, message in (
        (("--box", "10,10,10"), "got --box 10,10,10"),
        (("--box", "0,0,9999,10"), "lies outside the image"),
        (("--box", "0,0,10,10"), "regions that a user may choose, which the tokenizer 'v2l' does not have"),
    ):
        tokenizer = () if "'v2l'" in message else ("--tokenizer", "groma")
        result = run("words", image, *tokenizer, *args)
        assert result.exit_code == 1
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    file.write_text(json.dumps([[0, 0, 5, 5]] * 10_000), encoding="utf-8")
    result = run("words", image, "--tokenizer", "groma", "--boxes", file)
    assert (result.exit_code, "got 10,000 boxes" in result.stderr) == (1, True)


def test_a_question_names_a_region(run: Run, samples: Path) -> None:
    image = samples / "shoes" / "boots.jpg"
    box = ("--box", "10,10,100,90")
    result = run("vqa", image, "What is <r0>?", "--tokenizer", "groma", *box, "--json")
    assert result.exit_code == 0, result.output
    shown = run("prompt", image, "--task", "vqa", "--question", "What is <r0>?", "--tokenizer", "groma", *box)
    assert "Question: What is <r0> " in shown.stdout
    assert "<r1> sofa (bottom)" in shown.stdout
    result = run("vqa", image, "What is <r7>?", "--tokenizer", "groma")
    assert result.exit_code == 1
    assert "the question names <r7>, and the image has" in result.stderr
    result = run("vqa", image, "What is <r0>?")
    assert "the words of the image have no regions" in result.stderr


def test_a_caption_reads_the_layout_of_slices(run: Run, samples: Path) -> None:
    result = run("prompt", samples / "shoes" / "boots.jpg", "--tokenizer", "slices", "--shots", 0)
    assert result.exit_code == 0, result.output
    assert "," in result.stdout.split("Words:")[1]
    assert run("caption", samples / "shoes" / "boots.jpg", "--tokenizer", "slices").exit_code == 0


def test_ask_reads_a_file_beside_its_images(run: Run, samples: Path, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    image = samples / "shoes" / "boots.jpg"
    parts = [
        {"image": str(image)},
        {"text": "What is "},
        {"ref": "this", "box": [0, 0, 50, 50]},
        {"text": "?"},
    ]
    request.write_text(json.dumps(parts), encoding="utf-8")
    record = json.loads(run("ask", request, "--json").stdout)
    assert record["prompt"].endswith("Answer:")
    assert isinstance(record["answer"], str)
    shown = run("ask", request, "--prompt-only", "--prompt", "qwen")
    assert "<ref>this</ref><box>(0,0),(" in shown.stdout
    request.write_text('[{"picture": "a.jpg"}]', encoding="utf-8")
    result = run("ask", request)
    assert result.exit_code == 1
    assert "part 1 has the keys picture" in result.stderr


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("huge", "no preset of groma"),
        ("training: {canvases: 2}", "got training.canvases = 2; allowed: 8 and more"),
        ("network: {level: 2}", "got the unknown key network.level"),
    ],
)
def test_what_train_groma_cannot_train_on_is_one_line(
    config: str, message: str, samples: Path, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(config, encoding="utf-8")
    arguments = ["--config", config if config == "huge" else str(file), "train-groma", str(samples / "hat")]
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "run")])
    assert result.exit_code == 1
    assert message in result.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()

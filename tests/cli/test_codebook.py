"""v2l codebook and v2l evaluate semantics: codebooks are looked at, turned into tables and back, and
measured; nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_encoder import write_tiny_clip
from tiny_llm import tiny_llm
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.codebook.build import CodebookBuilder
from v2l.codebook.codebook import Codebook
from v2l.config import CodebookConfig
from v2l.encoders import load_encoder
from v2l.images import load_image
from v2l.sources import find_images

Run = Callable[..., Result]


@dataclass(frozen=True)
class Built:
    """A build of the tiny models, and where these are."""

    folder: Path
    llm: Path
    encoder: str


@pytest.fixture(scope="module")
def built(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    home = tmp_path_factory.mktemp("codebooks")
    llm, encoder = tiny_llm(), write_tiny_clip(home / "clip")
    llm.model.save_pretrained(home / "llm")
    llm.tokenizer.save_pretrained(home / "llm")
    config = CodebookConfig(templates=("a photo of a {}",))
    builder = CodebookBuilder(load_encoder(encoder, "cpu"), llm, config, home / "work")
    builder.build(find_images(samples / "hat", samples / "dress"), home / "built", keep_candidates=True)
    return Built(home / "built", home / "llm", encoder)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "cache"))


def refused(*args: object) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 1, result.output
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("v2l: ")
    return line


def test_a_build_is_shown(run: Run, built: Built) -> None:
    record = json.loads(run("codebook", "show", built.folder, "--json").stdout)["codebooks"]
    assert record.keys() == {"local", "global", "candidates"}
    assert (
        sum(record["candidates"]["by_order"].values())
        == record["candidates"]["codebook_size"]
        > record["global"]["codebook_size"]
    )
    text = run("codebook", "show", built.folder).stdout
    assert all(
        word in text
        for word in ("local: ", "dropped: ", "duplicate ", "candidates; among the 5 nearest of 8 photographs")
    ), text


def test_neighbours_of_a_word_are_named_and_another_word_is_refused(run: Run, built: Built) -> None:
    words = Codebook.load(built.folder / "global").words
    near = json.loads(run("codebook", "show", built.folder, "--word", words[0], "-n", 3, "--json").stdout)[
        "neighbours"
    ]
    assert len(near) == 3
    assert words[0] not in [found["word"] for found in near]
    assert near[0]["score"] >= near[-1]["score"]
    assert "the codebook has no word 'no such word'" in refused(
        "codebook", "show", built.folder, "--word", "no such word"
    )


def test_a_page_of_pictures_is_written(run: Run, built: Built, samples: Path, tmp_path: Path) -> None:
    page = (
        "codebook",
        "show",
        built.folder / "candidates",
        "--images",
        samples / "hat",
        "--images",
        samples / "shoes",
    )
    record = json.loads(run(*page, "-o", tmp_path / "page.png", "-n", 2, "--limit", 5, "--json").stdout)[
        "images"
    ]
    assert [Path(image["image"]).parent.name for image in record] == ["hat"] * 3 + ["shoes"] * 2, "of eight"
    assert all(
        words.keys() == {"subwords", "bigrams", "trigrams"} for words in (image["words"] for image in record)
    )
    assert load_image(tmp_path / "page.png").shape[0] == 3
    assert "needs both --images and -o" in refused(*page)


def test_a_table_is_exported_and_imported(run: Run, built: Built, tmp_path: Path) -> None:
    run("codebook", "export", built.folder, "-o", tmp_path / "words.csv")
    lines = (tmp_path / "words.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "words.csv").write_text("\n".join(lines[:3]), encoding="utf-8")
    record = json.loads(
        run(
            "codebook",
            "import",
            tmp_path / "words.csv",
            "--origin",
            built.folder,
            "-o",
            tmp_path / "new",
            "--json",
        ).stdout
    )
    assert record["codebook_size"] == 2
    assert Codebook.load(tmp_path / "new").entries == Codebook.load(built.folder / "global").entries[:2]


def test_another_threshold_needs_no_models(
    run: Run, built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("v2l.encoders.load_encoder", None)
    run("codebook", "filter", built.folder / "candidates", "-o", tmp_path / "same")
    assert Codebook.load(tmp_path / "same").entries == Codebook.load(built.folder / "global").entries
    run("codebook", "filter", built.folder / "candidates", "-o", tmp_path / "three", "--keep", 3)
    assert len(Codebook.load(tmp_path / "three")) == 3


def test_own_words_become_a_codebook_and_are_merged(run: Run, built: Built, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("hat\nfire truck\n", encoding="utf-8")
    models = ("--llm", built.llm, "--encoder", built.encoder)
    run("codebook", "from-words", tmp_path / "own.txt", "-o", tmp_path / "own", *models)
    own = Codebook.load(tmp_path / "own")
    assert own.words == ("hat", "fire truck")
    run("codebook", "merge", tmp_path / "own", built.folder, tmp_path / "own", "-o", tmp_path / "both")
    both = Codebook.load(tmp_path / "both")
    assert both.words[:2] == ("hat", "fire truck")
    assert len({entry.ids for entry in both.entries}) == len(both)
    (tmp_path / "own.txt").write_text("hat\n\nhat\n", encoding="utf-8")
    line = refused("codebook", "from-words", tmp_path / "own.txt", "-o", tmp_path / "bad", *models)
    assert "own.txt: line 2 is empty; line 3 repeats line 1 ('hat')" in line
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize("command", ["filter", "import", "merge", "from-words"])
def test_nothing_is_overwritten(command: str, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "notes").write_text("mine", encoding="utf-8")
    sources = {
        "filter": ["a"],
        "import": ["a.csv", "--origin", "a"],
        "merge": ["a", "b"],
        "from-words": ["a.txt"],
    }[command]
    assert "old is there already; allowed: a new directory" in refused(
        "codebook", command, *sources, "-o", tmp_path / "old"
    )
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["notes"]


def test_merging_wants_two(built: Built, tmp_path: Path) -> None:
    assert "got 1 codebook to merge; allowed: two or more" in refused(
        "codebook", "merge", built.folder, "-o", tmp_path / "new"
    )


def test_words_are_measured_before_and_after_the_filter(
    run: Run, built: Built, samples: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no image", encoding="utf-8")
    measure = (
        "evaluate",
        "semantics",
        samples,
        tmp_path / "bad.jpg",
        "--codebooks",
        built.folder,
        "--counts",
        "2,1",
    )
    record = json.loads(run(*measure, "--json").stdout)
    assert record["n"] == len(find_images(samples))
    assert record["skipped"] == [str(tmp_path / "bad.jpg")]
    assert record["metrics"].keys() == {"before the filter", "after the filter"}
    best = record["metrics"]["before the filter"]["with trigrams"]["1"]["relative"]["value"]
    assert best == pytest.approx(1)
    assert record["stack"]["encoder"] == built.encoder
    text = run(*measure, "--limit", 6, "--distinct").stdout
    assert "6 images" in text or "5 images" in text
    assert "before the filter, subwords only" in text


@pytest.mark.parametrize("counts", ["", "0", "1,,5", "a", "-1"])
def test_other_counts_are_refused(counts: str, samples: Path) -> None:
    assert "allowed: whole numbers from 1, with commas between" in refused(
        "evaluate", "semantics", samples, f"--counts={counts}"
    )


def test_another_encoder_by_the_same_name_is_refused(built: Built, samples: Path, tmp_path: Path) -> None:
    name = write_tiny_clip(tmp_path / "clip", seed=1)
    own = Codebook.load(built.folder / "global")
    moved = type(own)(
        own.entries,
        own.embeddings,
        type(own.source)(own.source.llm, own.source.llm_fingerprint, name, "0" * 16),
        own.metadata,
    )
    moved.save(tmp_path / "moved")
    line = refused("codebook", "show", tmp_path / "moved", "--images", samples, "-o", tmp_path / "page.png")
    assert "has fingerprint" in line
    assert "0000000000000000, which embedded the codebooks" in line

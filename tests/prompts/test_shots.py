"""Examples are read from JSON, also those of the package; an error in a file has its line and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from v2l.errors import V2LError
from v2l.prompts import caption, vqa
from v2l.prompts.entries import read_entries
from v2l.prompts.shots import SELECTIONS, load_shots

GOOD = [{"caption": "A hat.", "image": "hat.jpg"}, {"caption": "A  boot.", "words": ["boot", "shoe"]}]


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.json"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text", [json.dumps(GOOD), json.dumps(GOOD, indent=2), "\n\n".join(json.dumps(entry) for entry in GOOD)]
)
def test_a_list_and_lines_read_alike(text: str, tmp_path: Path) -> None:
    first, second = load_shots("caption", "nearest", written(tmp_path, text))
    assert (first.answer, first.image, first.words) == ("A hat.", tmp_path / "hat.jpg", ())
    assert (second.answer, second.image, second.words) == ("A boot.", None, ("boot", "shoe"))


@pytest.mark.parametrize("listed", [True, False])
def test_a_large_file_is_read_with_the_line_of_each_entry(listed: bool, tmp_path: Path) -> None:
    lines = ['{"caption":\n"A hat."}'] * 30_000
    entries = read_entries(written(tmp_path, f"[{','.join(lines)}]" if listed else "\n\n".join(lines)))
    assert len(entries) == 30_000
    assert entries[-1].where.endswith(f"line {30_000 if listed else 89_998}")


@pytest.mark.parametrize("task", ["caption", "vqa"])
@pytest.mark.parametrize("way", SELECTIONS)
def test_enough_examples_ship_for_every_wording(task: str, way: str) -> None:
    shots = load_shots(task, way)
    styles = {"caption": caption, "vqa": vqa}[task].STYLES.values()
    assert all(len(shots) >= style.n_examples for style in styles)
    assert all(len(shot.words) >= style.n_words for shot in shots for style in styles)
    assert all(bool(shot.question) == (task == "vqa") for shot in shots)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[\n{"caption": "A hat.", "words": ["hat"]},\n{"words": ["hat"]}\n]',
            "line 3: the key 'caption' is missing",
        ),
        (
            '{"caption": "A hat.", "words": ["hat"]}\n{"caption": " ", "words": ["hat"]}',
            "line 2: the key 'caption' holds ' '",
        ),
        ('[{"caption": 5, "words": ["hat"]}]', "line 1: the key 'caption' holds 5"),
        ('[{"caption": "A hat."}]', "line 1: the keys 'words' and 'image' are missing"),
        ('[{"caption": "A hat.", "words": "hat"}]', "line 1: the key 'words' holds 'hat'"),
        ('[{"caption": "A hat.", "words": []}]', "line 1: the key 'words'"),
        ('[{"caption": "A hat.", "image": ["hat.jpg"]}]', "line 1: the key 'image' holds"),
        ('[{"caption": "A hat.", "imgae": "hat.jpg"}]', "line 1: the key 'imgae' is unknown"),
        ('[{"caption": "A hat.",\n "words": ["hat"]\n', "line 3: no JSON"),
        ('{"caption": "A hat.", "words": ["hat"]}\nhello', "line 2: no JSON"),
        ('[\n"hat"]', 'line 2: got "hat"'),
        ("[[[[", "no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "holds no entry"),
        ("", "holds no entry"),
    ],
)
def test_a_malformed_file_is_one_line_with_line_and_key(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(V2LError) as raised:
        load_shots("caption", "nearest", written(tmp_path, text))
    assert message in str(raised.value)
    assert "mine.json" in str(raised.value)


def test_a_missing_file_and_one_that_is_no_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(V2LError, match=r"nowhere\.json"):
        read_entries(tmp_path / "nowhere.json")
    (tmp_path / "picture.json").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(V2LError, match=r"picture\.json"):
        read_entries(tmp_path / "picture.json")


def test_a_question_needs_both_keys(tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="line 1: the key 'answer' is missing"):
        load_shots("vqa", "nearest", written(tmp_path, '[{"question": "What?", "words": ["hat"]}]'))

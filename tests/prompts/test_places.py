"""Words with places in prompts equal their golden files; V2L_GOLDEN=write writes these anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from v2l.errors import V2LError
from v2l.places import Area, PlacedWord
from v2l.prompts import caption, vqa
from v2l.prompts.interleaved import Part, Picture, Reference, interleaved_prompt, scale_box
from v2l.prompts.places import in_rows, in_words
from v2l.prompts.regions import expand_regions, named_regions

GOLDEN = Path(__file__).parent / "golden"
WHOLE = Area.of_box((0, 0, 1, 1))
LEFT, RIGHT = Area.of_box((0, 0, 0.5, 1)), Area.of_box((0.5, 0, 1, 1))
CLUSTERS = (
    PlacedWord("dog", 0.9, Area(0.41, (0, 0.2, 0.5, 0.8), (0.2, 0.5))),
    PlacedWord("grass", 0.8, Area(0.38, (0, 0.6, 1, 1), (0.5, 0.8))),
    PlacedWord("sky", 0.7, Area(0.14, (0, 0, 1, 0.2), (0.5, 0.1))),
)
REGIONS = tuple(
    PlacedWord(word.word, word.score, word.area, number, f"<r{number}>")
    for number, word in enumerate(CLUSTERS)
)
QUARTERS = [Area.of_box((x / 2, y / 2, (x + 1) / 2, (y + 1) / 2)) for y in range(2) for x in range(2)]
SLICES = tuple(
    PlacedWord(word, 1.0, area)
    for word, area in [
        ("dog", WHOLE),
        ("lawn", WHOLE),
        ("sky", QUARTERS[0]),
        ("cloud", QUARTERS[0]),
        ("tree", QUARTERS[1]),
        ("dog", QUARTERS[2]),
        ("fire truck", QUARTERS[3]),
    ]
)
REQUEST: tuple[Part, ...] = (
    Picture(in_words(CLUSTERS)),
    Picture(("fire truck", "street")),
    "What colour is ",
    Reference("the car", (0.1, 0.05, 0.4005, 1.0), ("fire truck", "engine")),
    " beside ",
    Reference("", (0.6, 0.0, 0.9, 0.3)),
    "?",
)


def golden(name: str, text: str) -> str:
    """The golden file; with V2L_GOLDEN=write it is written first."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("V2L_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def test_a_question_about_clusters_equals_its_golden_file() -> None:
    text = vqa.vqa_dialogue([], in_words(CLUSTERS), "What is at the top?").text
    assert text == golden("vqa_clusters", text)


def test_a_question_about_regions_equals_its_golden_file() -> None:
    words = in_words(REGIONS)
    text = vqa.vqa_dialogue([], words, expand_regions("What is <r2>?", words)).text
    assert text == golden("vqa_regions", text)


def test_a_caption_of_slices_equals_its_golden_file() -> None:
    text = caption.caption_dialogue([], in_rows(SLICES)).text
    assert text == golden("caption_slices", text)


@pytest.mark.parametrize("wording", ["tuned", "qwen"])
def test_a_request_equals_its_golden_file(wording: str) -> None:
    text = interleaved_prompt(REQUEST, wording).text(str)
    assert text == golden(f"ask_{wording}", text)


def test_coordinates_are_scaled_to_a_thousand() -> None:
    assert scale_box((0.0, 0.1234, 0.5, 1.0)) == (0, 123, 500, 999)


def test_rows_of_nothing_are_empty() -> None:
    assert in_rows(()) == ("",)
    assert in_words(()) == ()


def test_a_region_that_is_not_there_is_one_line() -> None:
    words = in_words(REGIONS)
    assert expand_regions("Is <r0> near <r2>?", words) == "Is <r0> dog (centre left) near <r2> sky (top)?"
    assert expand_regions("What is it?", ()) == "What is it?"
    with pytest.raises(V2LError, match=r"names <r7>, and the image has 3 region\(s\); allowed: <r0> to <r2>"):
        expand_regions("What is <r7>?", words)
    with pytest.raises(V2LError, match=r"names <r0>, and the words of the image have no regions.*groma"):
        expand_regions("What is <r0>?", in_words(CLUSTERS))
    assert named_regions("<r10> <r1> <r10>") == ["<r10>", "<r1>"]


def test_a_request_without_a_text_or_of_an_unknown_wording_is_refused() -> None:
    with pytest.raises(V2LError, match="got no text that asks something"):
        interleaved_prompt([Picture(("dog",))])
    with pytest.raises(V2LError, match="got the prompt wording 'plain'; allowed: tuned, qwen"):
        interleaved_prompt(["What?"], "plain")

"""Few-shot prompts equal their golden files, word for word; V2L_GOLDEN=write writes these anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2l.errors import V2LError
from v2l.prompts import FewShotFormat, Prompt, channel_prompt, fewshot_prompt
from v2l.prompts.fewshot import support_orders

GOLDEN = Path(__file__).parent / "golden"
SUPPORTS = [(("retriever", "fur", "golden dog"), "golden_retriever"), (("whiskers", "paw", "kitten"), "cat")]
QUERY = ("puppy", "fur", "leash")
LABELS = st.text("xyz_", min_size=1, max_size=5).filter(lambda label: label.strip("_"))
WORDS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4)


def golden(name: str, prompt: Prompt) -> None:
    """Assert that a prompt is what its file says."""
    path, text = GOLDEN / f"{name}.txt", prompt.text(lambda ids: "".join(f"<{i}>" for i in ids))
    if os.environ.get("V2L_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("wording", ["paper", "official", "tuned"])
def test_the_prompt_equals_its_golden_file(wording: str) -> None:
    golden(f"fewshot_{wording}", fewshot_prompt(SUPPORTS, QUERY, FewShotFormat(wording)))


def test_the_channel_prompt_equals_its_golden_file() -> None:
    golden("channel_tuned", channel_prompt(SUPPORTS, "cat", FewShotFormat("tuned")))


def test_one_repeat_shows_the_support_twice_and_no_induction_drops_the_first_line() -> None:
    golden(
        "fewshot_paper_repeated_without_induction",
        fewshot_prompt(SUPPORTS, QUERY, FewShotFormat("paper", induction=False, repeats=1)),
    )


def test_the_official_slip_is_in_official_only() -> None:
    opening = fewshot_prompt(SUPPORTS, QUERY, FewShotFormat("official")).pieces[0]
    assert opening.endswith("output is one of ['cat' or ['golden_retriever']\n")
    assert (
        fewshot_prompt(SUPPORTS, QUERY).pieces[0].endswith("output is one of ['cat' or 'golden retriever']\n")
    )


def test_official_pieces_are_those_of_the_official_code() -> None:
    assert fewshot_prompt(SUPPORTS[:1], QUERY, FewShotFormat("official", induction=False)).pieces == (
        *("###\nInput: < ", "retrieverfurgolden dog", " >\nOutput: ", "golden_retriever"),
        *("###\nInput: < ", "puppyfurleash", " >\nOutput: "),
    )


@given(st.lists(st.tuples(WORDS, LABELS), min_size=1, max_size=4), WORDS, st.sampled_from(["paper", "tuned"]))
def test_no_piece_ends_in_a_lone_space(supports: list, query: list[str], wording: str) -> None:
    format = FewShotFormat(wording)
    for prompt in (fewshot_prompt(supports, query, format), channel_prompt(supports, supports[0][1], format)):
        assert not any(piece.endswith(" ") for piece in prompt.pieces)


def test_separator_and_underscores_can_be_chosen() -> None:
    format = FewShotFormat("paper", separator=" / ", label_spaces=False)
    assert format.words(["a", "b"]) == " a / b"
    assert format.label("fire_truck") == " fire_truck"


def test_an_unknown_wording_names_the_known_ones() -> None:
    with pytest.raises(V2LError, match=r"'haiku'.*paper, official, tuned"):
        FewShotFormat("haiku")


def test_negative_repeats_are_refused() -> None:
    with pytest.raises(V2LError, match="repeats"):
        FewShotFormat(repeats=-1)


def test_labels_are_written_with_spaces_or_with_underscores_whichever_the_folder_has() -> None:
    assert [FewShotFormat("official").name(label) for label in ("fire_truck", "fire truck")] == [
        "fire_truck"
    ] * 2
    assert [FewShotFormat("tuned").name(label) for label in ("fire_truck", "fire truck")] == [
        "fire truck"
    ] * 2


def test_words_can_be_turned_round_and_lowered() -> None:
    assert FewShotFormat("tuned", nearest_last=True, lower=True).words(["Pup", "Dog"]) == " dog, pup"


def test_no_words_leave_no_space() -> None:
    assert fewshot_prompt(SUPPORTS[:1], (), FewShotFormat("tuned", induction=False)).pieces[-2:] == (
        "Words:",
        " ->",
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_orders_hold_the_same_examples_each_once(count: int) -> None:
    supports = [(("a",), "x"), (("b",), "y"), (("c",), "z"), (("d",), "x")]
    orders = support_orders(supports, count)
    assert len(orders) == count
    assert orders[0] == supports
    assert all(sorted(order) == sorted(supports) for order in orders)
    assert len({str(order) for order in orders}) == count


def test_two_orders_put_every_example_once_before_and_once_behind_any_other() -> None:
    first, second = support_orders([(("a",), "x"), (("b",), "y"), (("c",), "z")], 2)
    assert second == first[::-1]

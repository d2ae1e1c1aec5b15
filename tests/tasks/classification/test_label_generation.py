"""Labels that the LLM generates: freely, restricted to the labels, or under the official code's mask."""

from __future__ import annotations

from dataclasses import replace

import pytest

from v2l.llm import GenerationConfig
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.fewshot import FewShotFormat, fewshot_prompt
from v2l.tasks.classification.label_generation import GENERATION_RULES
from v2l.tasks.classification.label_scoring import LabelQuery

LABELS = ("fox", "fox_squirrel", "ox", "dress")
SUPPORTS = [((f"word{i}", "red"), label) for i, label in enumerate(LABELS)]
QUERY = LabelQuery(SUPPORTS, ("straw", "hat"), FewShotFormat("tuned"))
INPUTS = [
    ("straw", "hat"),
    ("sun",),
    ("blue", "jeans", "denim"),
    ("table",),
    ("photo", "flowers"),
    ("cloth",),
]


@pytest.mark.parametrize("wording", ["tuned", "paper", "official"])
def test_constrained_generation_always_gives_a_label(pipeline: Pipeline, wording: str) -> None:
    format = FewShotFormat(wording)
    names = {format.name(label) for label in LABELS}
    assert {
        GENERATION_RULES["constrained"](pipeline.llm, replace(QUERY, words=words, format=format))
        for words in INPUTS
    } <= names


def test_a_label_that_is_a_prefix_of_another_can_be_generated_and_so_can_the_other(
    pipeline: Pipeline,
) -> None:
    kinds = set()
    for short, long in [
        ("hat", "hat_or"),
        ("red", "red_dress"),
        ("sun", "sun_hat"),
        ("straw", "straw_hat"),
        ("a", "a_photo"),
        ("o", "or"),
    ]:
        found = GENERATION_RULES["constrained"](
            pipeline.llm, LabelQuery([(("blue",), short), (("red",), long)], ("jeans",), QUERY.format)
        )
        kinds.add({short: "short", long.replace("_", " "): "long"}[found])
    assert kinds == {"short", "long"}


def test_free_generation_is_the_greedy_text_up_to_the_end_of_the_line(pipeline: Pipeline) -> None:
    prompt = fewshot_prompt(SUPPORTS, QUERY.words, QUERY.format)
    text = pipeline.llm.generate([prompt], GenerationConfig(40))[0].text
    found = GENERATION_RULES["generate"](pipeline.llm, QUERY)
    assert text.split("\n")[0].split("###")[0].strip().startswith(found)


def test_under_the_official_mask_every_token_is_at_its_position_in_some_label(pipeline: Pipeline) -> None:
    query = replace(QUERY, format=FewShotFormat("official"))
    spelled = [pipeline.llm.encode_pieces(choice) for choice in query.choices]
    ids = pipeline.llm.encode_pieces(GENERATION_RULES["masked"](pipeline.llm, query))
    for place, token in enumerate(ids):
        assert token in {sequence[place] for sequence in spelled if len(sequence) > place}


def test_without_a_description_the_official_code_has_no_mask(pipeline: Pipeline) -> None:
    query = replace(QUERY, format=FewShotFormat("official", induction=False))
    longest = max(len(pipeline.llm.encode_pieces(choice)) for choice in query.choices)
    free = pipeline.llm.generate(
        [fewshot_prompt(SUPPORTS, query.words, query.format)], GenerationConfig(longest)
    )[0]
    assert GENERATION_RULES["masked"](pipeline.llm, query) == free.text.strip()

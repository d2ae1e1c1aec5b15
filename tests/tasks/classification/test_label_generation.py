"""What the LLM writes: freely, held to the labels, or under the official code's mask."""

from __future__ import annotations

from dataclasses import replace

import pytest

from v2l.llm import GenerationConfig
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.fewshot import FewShotFormat, fewshot_prompt
from v2l.tasks.classification.label_generation import WRITINGS
from v2l.tasks.classification.label_scoring import LabelQuery

LABELS = ("fox", "fox_squirrel", "ox", "dress")
SUPPORTS = [((f"word{i}", "red"), label) for i, label in enumerate(LABELS)]
ASKED = LabelQuery(SUPPORTS, ("straw", "hat"), FewShotFormat("tuned"))
QUERIES = [
    ("straw", "hat"),
    ("sun",),
    ("blue", "jeans", "denim"),
    ("table",),
    ("photo", "flowers"),
    ("cloth",),
]


@pytest.mark.parametrize("wording", ["tuned", "paper", "official"])
def test_constrained_generation_always_writes_a_label(pipeline: Pipeline, wording: str) -> None:
    format = FewShotFormat(wording)
    names = {format.name(label) for label in LABELS}
    assert {
        WRITINGS["constrained"](pipeline.llm, replace(ASKED, query=query, format=format)) for query in QUERIES
    } <= names


def test_a_label_that_begins_another_one_can_be_written_and_so_can_the_other(pipeline: Pipeline) -> None:
    kinds = set()
    for short, long in [
        ("hat", "hat_or"),
        ("red", "red_dress"),
        ("sun", "sun_hat"),
        ("straw", "straw_hat"),
        ("a", "a_photo"),
        ("o", "or"),
    ]:
        found = WRITINGS["constrained"](
            pipeline.llm, LabelQuery([(("blue",), short), (("red",), long)], ("jeans",), ASKED.format)
        )
        kinds.add({short: "short", long.replace("_", " "): "long"}[found])
    assert kinds == {"short", "long"}


def test_free_generation_is_the_llms_greedy_text_up_to_the_line(pipeline: Pipeline) -> None:
    prompt = fewshot_prompt(SUPPORTS, ASKED.query, ASKED.format)
    text = pipeline.llm.generate([prompt], GenerationConfig(40))[0].text
    found = WRITINGS["generate"](pipeline.llm, ASKED)
    assert text.split("\n")[0].split("###")[0].strip().startswith(found)


def test_under_the_official_mask_every_token_stands_at_its_place_in_some_label(pipeline: Pipeline) -> None:
    asked = replace(ASKED, format=FewShotFormat("official"))
    spelled = [pipeline.llm.encode_pieces(choice) for choice in asked.choices]
    ids = pipeline.llm.encode_pieces(WRITINGS["masked"](pipeline.llm, asked))
    for place, token in enumerate(ids):
        assert token in {sequence[place] for sequence in spelled if len(sequence) > place}


def test_without_a_description_the_official_code_has_no_mask(pipeline: Pipeline) -> None:
    asked = replace(ASKED, format=FewShotFormat("official", induction=False))
    longest = max(len(pipeline.llm.encode_pieces(choice)) for choice in asked.choices)
    free = pipeline.llm.generate(
        [fewshot_prompt(SUPPORTS, asked.query, asked.format)], GenerationConfig(longest)
    )[0]
    assert WRITINGS["masked"](pipeline.llm, asked) == free.text.strip()

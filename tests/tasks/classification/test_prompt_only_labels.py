"""A label from the text of any LLM: the prompt lists the labels, the answer is one of them or none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_server import saying, tiny_server

from v2l.datasets import LabelledImage
from v2l.errors import V2LError
from v2l.images import Skipped
from v2l.llm.endpoint import Endpoint
from v2l.pipeline.image_words import WordSelection
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.fewshot import FewShotFormat
from v2l.prompts.prompt import Prompt
from v2l.tasks.classification.prompt_only_labels import (
    LabelPrompt,
    LabelPromptSettings,
    build_label_prompt,
    check_labels,
    draw_support,
)

SETTINGS = LabelPromptSettings(words=WordSelection(3))
PROMPT = LabelPrompt(Prompt(("What?",)), ("hat", "sea_horse", ".22"), ("fur",), FewShotFormat("tuned"))


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("hat", "hat"),
        (" hat.\n", "hat"),
        ("'sea horse'", "sea_horse"),
        ("'hat'.", "hat"),
        ('"hat." ', "hat"),
        (".22", ".22"),
        ("a hat", None),
        ("Hat", None),
        ("hats", None),
        ("", None),
    ],
)
def test_an_answer_is_exactly_a_label_or_none(answer: str, label: str | None) -> None:
    assert PROMPT.parse(answer) == label


def test_the_prompt_lists_the_labels_and_ends_with_the_words_of_the_image(
    pipeline: Pipeline, samples: Path
) -> None:
    image = samples / "hat" / "straw.jpg"
    support = draw_support(samples, image, LabelPromptSettings(k_shots=2), Skipped())
    assert sorted(shot.label for shot in support) == [
        "dress",
        "dress",
        "hat",
        "hat",
        "pants",
        "pants",
        "shoes",
        "shoes",
    ]
    prompt = build_label_prompt(pipeline, image, support, SETTINGS)
    assert "'dress' or 'hat' or 'pants' or 'shoes'" in prompt.text
    assert prompt.text.endswith(f"Words: {', '.join(prompt.words)} ->")


def test_a_server_gets_exactly_the_prompt(pipeline: Pipeline, samples: Path) -> None:
    image = samples / "hat" / "straw.jpg"
    prompt = build_label_prompt(pipeline, image, draw_support(samples, image, SETTINGS, Skipped()), SETTINGS)
    with tiny_server(saying("hat\nbecause")) as server:
        answer = prompt.generate(Endpoint(server.url))
    assert prompt.parse(answer) == "hat"
    assert server.requests[0]["messages"] == [{"role": "user", "content": prompt.text}]


def test_the_query_is_never_in_the_support_and_the_seed_sets_the_draw(samples: Path) -> None:
    image = samples / "hat" / "straw.jpg"
    drawn = [
        draw_support(samples, image, LabelPromptSettings(k_shots=3, seed=seed), Skipped())
        for seed in (0, 0, 1)
    ]
    assert all(shot.path != image for shot in drawn[0])
    assert drawn[0] == drawn[1] != drawn[2]


def test_too_few_classes_or_images_is_refused(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "hat").mkdir()
    shutil.copy(samples / "hat" / "straw.jpg", tmp_path / "hat")
    with pytest.raises(V2LError, match="at least 2"):
        draw_support(tmp_path, Path("query.jpg"), SETTINGS, Skipped())
    (tmp_path / "shoes").mkdir()
    (tmp_path / "shoes" / "bad.jpg").write_text("no image")
    skipped = Skipped()
    with pytest.raises(V2LError, match=r"class 'shoes' .* 0 readable"):
        draw_support(tmp_path, Path("query.jpg"), SETTINGS, skipped)
    assert len(skipped) == 1


def test_labels_with_the_same_name_are_refused(pipeline: Pipeline, samples: Path) -> None:
    image, shot = samples / "hat" / "straw.jpg", samples / "hat" / "plaid.jpg"
    with pytest.raises(V2LError, match="read the same: 'sea horse'"):
        build_label_prompt(
            pipeline, image, [LabelledImage(shot, "sea_horse"), LabelledImage(shot, "sea horse")], SETTINGS
        )
    check_labels(["sea_horse", "sea"], FewShotFormat("tuned"))


def test_a_wording_sets_words_and_format() -> None:
    assert LabelPromptSettings.of("paper").words == WordSelection(5, "nearest")
    assert LabelPromptSettings.of("official", n_words=2).format.wording == "official"
    assert LabelPromptSettings.of("tuned").format.induction
    with pytest.raises(V2LError, match="tuned, paper, official"):
        LabelPromptSettings.of("haiku")

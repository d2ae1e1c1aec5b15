"""Captions and answers: prompts hold words alone, answers stop at stop texts, candidates are ranked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_pipeline import tiny_pipeline
from tiny_server import saying, tiny_server

from v2l.errors import V2LError
from v2l.images import Skipped
from v2l.llm.endpoint import Endpoint
from v2l.pipeline.image_words import WordSelection
from v2l.pipeline.pipeline import LLMChoice, Pipeline
from v2l.prompts.shots import load_shots
from v2l.tasks.description.describe import Describer, DescribeSettings

SETTINGS = DescribeSettings(n_words=3, n_examples=2)
TWO = DescribeSettings(n_words=3, n_examples=1, candidates=6, temperature=2.0)


@pytest.fixture
def photographs(samples: Path) -> list[Path]:
    return sorted((samples / "hat").iterdir())


def test_every_readable_image_is_described_and_the_others_are_listed(
    pipeline: Pipeline, photographs: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    skipped = Skipped()
    said = dict(
        Describer(pipeline, "caption", SETTINGS).over(
            [*photographs[:2], tmp_path / "bad.jpg", photographs[2]], skipped
        )
    )
    assert list(said) == photographs[:3]
    assert [file.name for file, _ in skipped.files] == ["bad.jpg"]
    for description in said.values():
        assert len(description.words) == 3
        assert not {".", "\n"} & set(description.text)


def test_an_answer_is_the_same_alone_and_in_company(pipeline: Pipeline, photographs: list[Path]) -> None:
    describer = Describer(pipeline, "vqa", DescribeSettings(n_words=3, n_examples=2, candidates=3, seed=5))
    together = dict(describer.over(photographs, Skipped(), "What is it?"))
    alone = dict(describer.over(photographs[2:3], Skipped(), "What is it?"))
    first, second = (
        sorted(candidate.text for candidate in said[photographs[2]].candidates) for said in (alone, together)
    )
    assert first == second
    assert len(first) > 1


def test_the_question_and_the_words_reach_the_prompt(pipeline: Pipeline, photographs: list[Path]) -> None:
    describer = Describer(pipeline, "vqa", SETTINGS)
    ((_, image),) = describer.read(photographs[:1], Skipped())
    text = describer.dialogue(image.words, "Is it red?").text
    assert ", ".join(image.words) in text
    assert text.endswith("Question: Is it red?\nAnswer:")
    assert text.count("Question:") == 3


@pytest.mark.parametrize("task", ["caption", "vqa"])
def test_candidates_are_ranked_by_the_joint_encoder(
    pipeline: Pipeline, photographs: list[Path], task: str
) -> None:
    describer = Describer(pipeline, task, TWO)
    question = "What?" if task == "vqa" else ""
    ((_, image),) = describer.read(photographs[:1], Skipped())
    (said,) = describer.describe([image], [question])
    scores = [candidate.score for candidate in said.candidates]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True)
    assert said.text == said.candidates[0].text
    expected = (
        pipeline.tokenizer.joint_encoder.encode_texts([f"{question} {said.text}".strip()])[0] @ image.vector
    )
    assert scores[0] == pytest.approx(float(expected), abs=1e-6)
    assert "colours" in describer.ranked_by
    assert Describer(pipeline, task, SETTINGS).ranked_by is None


def test_own_examples_are_read_from_their_images(
    pipeline: Pipeline, photographs: list[Path], tmp_path: Path
) -> None:
    shutil.copy(photographs[0], tmp_path / "mine.jpg")
    (tmp_path / "mine.json").write_text(json.dumps([{"image": "mine.jpg", "caption": "My hat."}]))
    describer = Describer(pipeline, "caption", DescribeSettings(n_words=3, examples=tmp_path / "mine.json"))
    ((_, image),) = describer.read(photographs[:1], Skipped())
    assert [tuple(example) for example in describer.examples] == [(image.words, "", "My hat.")]
    assert describer.remark() is None
    assert "checkpoint that ships" in Describer(pipeline, "caption", SETTINGS).remark()


def test_an_example_of_the_image_itself_is_left_out(
    pipeline: Pipeline, photographs: list[Path], tmp_path: Path
) -> None:
    shutil.copy(photographs[0], tmp_path / "mine.jpg")
    (tmp_path / "mine.json").write_text(json.dumps([{"image": "mine.jpg", "caption": "My hat."}]))
    describer = Describer(pipeline, "caption", DescribeSettings(n_words=3, examples=tmp_path / "mine.json"))
    own, other = (image.words for _, image in describer.read(photographs[:2], Skipped()))
    assert own != other
    assert "My hat." not in describer.dialogue(own).text
    assert "My hat." in describer.dialogue(other).text
    assert "My hat." in describer.dialogue(()).text


def test_an_example_whose_image_is_missing_is_named_with_its_line(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('[\n{"image": "gone.jpg", "caption": "My hat."}\n]')
    with pytest.raises(V2LError, match=r"mine\.json, line 2: there is no file .*gone\.jpg"):
        Describer(pipeline, "caption", DescribeSettings(examples=tmp_path / "mine.json")).dialogue(("hat",))


def test_more_examples_than_there_are_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(V2LError, match=r"asked for 99 examples, .* holds 10"):
        Describer(pipeline, "caption", DescribeSettings(n_examples=99)).dialogue(("hat",))


def test_a_prompt_over_the_context_says_how_long_it_is_and_what_to_lower(photographs: list[Path]) -> None:
    describer = Describer(tiny_pipeline(context=64), "caption", SETTINGS)
    with pytest.raises(V2LError, match=r"prompt of \d+ tokens .* 64 tokens together.* fewer examples"):
        list(describer.over(photographs[:1], Skipped()))


def test_an_empty_question_is_refused_before_an_image_is_read(pipeline: Pipeline) -> None:
    with pytest.raises(V2LError, match="empty question"):
        list(Describer(pipeline, "vqa", SETTINGS).over([Path("never-opened.jpg")], Skipped(), " "))


@pytest.mark.parametrize(
    "given", [{"n_words": 0}, {"n_examples": -1}, {"candidates": 0}, {"temperature": 0.0}]
)
def test_numbers_out_of_range_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(V2LError, match="got"):
        DescribeSettings(**given)


def test_a_server_answers_in_the_place_of_the_llm(photographs: list[Path]) -> None:
    pipeline = Pipeline(tiny_pipeline().tokenizer, LLMChoice("no-such-llm"))  # loading it is an error
    with tiny_server(saying("A hat. And more", "A cap.", "A cap")) as server:
        describer = Describer(pipeline, "caption", SETTINGS, Endpoint(server.url))
        said = dict(describer.over(photographs[:2], Skipped()))
        assert (
            describer.report()["stack"] | {"llm": "tiny-chat", "endpoint": server.url}
            == describer.report()["stack"]
        )
    assert [description.text for description in said.values()] == ["A hat", "A cap"]
    assert [turn["role"] for turn in server.requests[0]["messages"]] == ["user", "assistant"] * 2 + ["user"]


def test_a_server_gets_a_request_for_each_candidate_with_its_own_seed(
    pipeline: Pipeline, photographs: list[Path]
) -> None:
    settings = DescribeSettings(n_words=3, n_examples=1, candidates=3, seed=4)
    with tiny_server(saying("A hat", "A cap", "A cap")) as server:
        describer = Describer(pipeline, "caption", settings, Endpoint(server.url))
        ((_, said),) = describer.over(photographs[:1], Skipped())
    assert {candidate.text for candidate in said.candidates} == {"A hat", "A cap"}
    assert [(request["seed"], request["temperature"]) for request in server.requests] == [
        (4, 0.0),
        (5, 0.7),
        (6, 0.7),
    ]


def test_an_llm_with_chat_roles_gets_a_dialogue(photographs: list[Path]) -> None:
    pipeline = tiny_pipeline(context=1024)
    pipeline.llm.tokenizer.chat_template = (
        "{% for turn in messages %}{{ turn['role'] }}: {{ turn['content'] }}\n{% endfor %}assistant:"
    )
    lines = Describer(tiny_pipeline(context=1024), "caption", SETTINGS)
    turns = Describer(pipeline, "caption", SETTINGS)
    assert dict(turns.over(photographs[:1], Skipped())) != dict(lines.over(photographs[:1], Skipped()))


@pytest.mark.embedded
@pytest.mark.parametrize("task", ["caption", "vqa"])
@pytest.mark.parametrize("way", ["nearest", "together"])
def test_the_words_that_ship_are_those_of_the_checkpoint_that_ships(
    task: str, way: str, samples: Path, load_once: Callable[..., Pipeline]
) -> None:
    """When the shipped codebook changes, write the words of v2l/prompts/examples anew."""
    shots = load_shots(task, way)
    pipeline = load_once()
    describer = Describer(pipeline, task, DescribeSettings())
    files = [samples / shot.image.relative_to(shot.image.parents[1]) for shot in shots]
    vectors = torch.stack([image.vector for _, image in describer.read(files, Skipped())])
    assert WordSelection(21, way).words(pipeline.tokenizer, vectors) == [shot.words for shot in shots]

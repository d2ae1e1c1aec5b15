"""Captions are scored with right and wrong images, answers by exact match; stopped runs continue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_llm import tiny_model
from tiny_pipeline import ColourEncoder, tiny_pipeline
from tiny_server import JSON, TinyServer, chat, in_turn, refusal, tiny_server
from torch.nn.functional import normalize

from v2l.errors import V2LError
from v2l.evaluation.describe import (
    Question,
    answer_report,
    caption_report,
    caption_scores,
    distinct,
    draw,
    evaluate_answers,
    evaluate_captions,
    is_right,
    load_questions,
)
from v2l.evaluation.describe_report import page, report
from v2l.evaluation.journal import Record
from v2l.llm import FrozenLLM
from v2l.llm.endpoint import Endpoint
from v2l.metrics import Proportion
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.description.describe import Describer, DescribeSettings

SETTINGS = DescribeSettings(n_words=3, n_examples=1)


@pytest.fixture(scope="module")
def captioner() -> Describer:
    return Describer(tiny_pipeline(), "caption", SETTINGS)


@pytest.fixture(scope="module")
def answerer() -> Describer:
    return Describer(tiny_pipeline(), "vqa", SETTINGS)


@pytest.fixture
def photographs(samples: Path, tmp_path: Path) -> list[Path]:
    (tmp_path / "bad.jpg").write_text("no image")
    return [
        *sorted((samples / "hat").iterdir()),
        tmp_path / "bad.jpg",
        *sorted((samples / "shoes").iterdir()),
    ]


@pytest.fixture
def questions(samples: Path, tmp_path: Path) -> Path:
    entries = [
        {"image": str(samples / "hat" / "straw.jpg"), "question": "What is it?", "answer": "hat"},
        {"image": str(samples / "hat" / "straw.jpg"), "question": "Is it a boot?", "answer": "no"},
        {"image": "gone.jpg", "question": "What is it?", "answer": "hat"},
    ]
    (tmp_path / "questions.json").write_text(json.dumps(entries))
    return tmp_path / "questions.json"


def test_scores_equal_the_matrix_of_cosines() -> None:
    encoder, captions = ColourEncoder(), ["a hat", "", "a boot"]
    vectors = normalize(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    scores = caption_scores(encoder, captions, vectors)
    cosines = encoder.encode_texts(captions) @ vectors.T
    for row in (0, 2):
        others = [column for column in range(3) if column != row]
        assert scores.own[row] == pytest.approx(float(cosines[row, row]))
        assert scores.wrong[row] == pytest.approx(float(cosines[row, others].mean()), abs=1e-6)
    assert scores.own[1] == scores.wrong[1] == 0


def test_distinct_counts_different_ngrams() -> None:
    assert distinct(["a hat", "a boot"], 1) == 3 / 4
    assert distinct(["a hat", "A hat"], 2) == 1 / 2
    assert distinct(["hat"], 2) == 0


def test_the_report_has_intervals_baselines_and_skipped_files(
    captioner: Describer, photographs: list[Path]
) -> None:
    records = evaluate_captions(captioner, photographs)
    found = report((captioner, records), None)
    captions = found["captions"]
    assert captions["n"] == 8
    assert [entry["image"] for entry in captions["skipped"]] == [str(photographs[4])]
    score = captions["metrics"]["score"]
    assert score["interval"][0] <= score["value"] <= score["interval"][1]
    (baseline,) = captions["baselines"].values()
    less = captions["metrics"]["difference"]["value"] - baseline["difference"]["value"]
    assert captions["metrics"]["difference_less_baseline"]["value"] == pytest.approx(less, abs=1e-6)
    assert all("vector" not in shown for shown in captions["shown"])
    text = page(json.loads(json.dumps(found)))
    assert all(str(path) in text for path in photographs if path.name != "bad.jpg")
    assert "a photo of {top word}" in text


def test_a_server_that_gives_up_leaves_a_journal_and_the_same_call_goes_on(
    photographs: list[Path], tmp_path: Path
) -> None:
    log, down = tmp_path / "log.jsonl", refusal(503, "out of memory")
    answers = [(200, JSON, chat(f"hat {number}")) for number in range(8)]

    def captions(server: TinyServer) -> list[Record]:
        endpoint = Endpoint("http://127.0.0.1/v1", "mine", retries=1, note=print, sleep=lambda _: None)
        endpoint.__dict__["client"] = Endpoint(server.url).client  # two servers, one address in the journal
        return evaluate_captions(
            Describer(Pipeline(tiny_pipeline().tokenizer, None), "caption", SETTINGS, endpoint),
            photographs,
            log,
        )

    with tiny_server(in_turn(*answers[:3], down)) as server, pytest.raises(V2LError, match="503"):
        captions(server)
    assert len(log.read_text().splitlines()) == 1 + 3, "the head of the journal and the answers so far"
    with tiny_server(in_turn(*answers[3:])) as server:
        records = captions(server)
    assert len(server.requests) == 5
    assert [record.get("text") for record in records if "skipped" not in record] == [
        f"hat {number}" for number in range(8)
    ]


def assert_same_records(found: list[Record], expected: list[Record]) -> None:
    """Equal records. Vectors to 1e-6: on some processors another batch size changes the last bit."""
    for one, other in zip(found, expected, strict=True):
        assert {**one, "vector": None} == {**other, "vector": None}
        assert one.get("vector", []) == pytest.approx(other.get("vector", []), abs=1e-6)


def test_a_stopped_run_continues_with_the_same_records(
    captioner: Describer, photographs: list[Path], tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    whole = evaluate_captions(captioner, photographs, log)
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:4]) + lines[4][:30])
    steps = []
    resumed = evaluate_captions(captioner, photographs, log, lambda *step: steps.append(step))
    assert_same_records(resumed, whole)
    assert steps == [("captions", 9, 9)]
    head, *records = map(json.loads, log.read_text().splitlines())
    assert head == json.loads(lines[0])
    assert_same_records(records, [json.loads(line) for line in lines[1:]])
    with pytest.raises(V2LError, match="data"):
        evaluate_captions(captioner, photographs[1:], log)


def test_a_journal_of_another_llm_with_the_same_vocabulary_is_refused(
    captioner: Describer, photographs: list[Path], tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    evaluate_captions(captioner, photographs[:2], log)
    known = captioner.pipeline.llm
    model = tiny_model(len(known.tokenizer), known.tokenizer.eos_token_id, seed=1)
    other = Pipeline(captioner.pipeline.tokenizer, FrozenLLM(model, known.tokenizer, "other"))
    with pytest.raises(V2LError, match=r"'tiny' \(weights \w+\), and this run uses the LLM 'other'"):
        evaluate_captions(Describer(other, "caption", SETTINGS), photographs[:2], log)
    server = Endpoint("http://localhost:1/v1", "chat")
    with pytest.raises(V2LError, match=r"the LLM 'chat' \(at http://localhost:1/v1\)"):
        evaluate_captions(Describer(other, "caption", SETTINGS, server), photographs[:2], log)


def test_a_journal_of_a_tokenizer_that_was_trained_on_is_refused(
    photographs: list[Path], tmp_path: Path
) -> None:
    captioner = Describer(tiny_pipeline(), "caption", SETTINGS)
    evaluate_captions(captioner, photographs[:2], tmp_path / "log.jsonl")
    with torch.no_grad():
        next(captioner.pipeline.tokenizer.parameters()).add_(1)
    with pytest.raises(V2LError, match="tokenizer_weights"):
        evaluate_captions(captioner, photographs[:2], tmp_path / "log.jsonl")


def test_a_journal_of_answers_refuses_another_image_under_the_same_name(
    answerer: Describer, photographs: list[Path], tmp_path: Path
) -> None:
    image, log = tmp_path / "mine.jpg", tmp_path / "log.jsonl"
    asked = [Question(image, "What is it?", "hat")]
    image.write_bytes(photographs[0].read_bytes())
    evaluate_answers(answerer, asked, log)
    image.write_bytes(photographs[-1].read_bytes())
    with pytest.raises(V2LError, match="data"):
        evaluate_answers(answerer, asked, log)


def test_a_journal_continues_with_the_same_examples_and_refuses_changed_ones(
    photographs: list[Path], tmp_path: Path
) -> None:
    log, examples = tmp_path / "log.jsonl", tmp_path / "mine.json"

    def evaluate(caption: str) -> list[dict]:
        examples.write_text(json.dumps([{"words": ["hat", "straw", "brim"], "caption": caption}]))
        settings = DescribeSettings(n_words=3, n_examples=1, examples=examples)
        return evaluate_captions(Describer(tiny_pipeline(), "caption", settings), photographs[:2], log)

    first = evaluate("A hat of straw.")
    assert evaluate("A hat of straw.") == first
    with pytest.raises(V2LError, match="examples_fingerprint"):
        evaluate("A straw hat.")


def test_a_journal_refuses_another_image_under_the_name_of_an_example(
    photographs: list[Path], tmp_path: Path
) -> None:
    log, examples = tmp_path / "log.jsonl", tmp_path / "mine.json"
    examples.write_text(json.dumps([{"image": "mine.jpg", "caption": "Mine."}]))
    settings = DescribeSettings(n_words=3, n_examples=1, examples=examples)
    (tmp_path / "mine.jpg").write_bytes(photographs[0].read_bytes())
    evaluate_captions(Describer(tiny_pipeline(), "caption", settings), photographs[:2], log)
    (tmp_path / "mine.jpg").write_bytes(photographs[-1].read_bytes())
    with pytest.raises(V2LError, match="examples_fingerprint"):
        evaluate_captions(Describer(tiny_pipeline(), "caption", settings), photographs[:2], log)


def test_answers_are_counted_beside_the_most_frequent_one(answerer: Describer, questions: Path) -> None:
    records = evaluate_answers(answerer, load_questions(questions))
    assert [record["question"] for record in records] == ["What is it?", "Is it a boot?", "What is it?"]
    found = report(None, (answerer, records))["answers"]
    right = sum(record.get("right", False) for record in records)
    assert found["metrics"]["exact_match"]["value"] == right / 2
    assert found["baselines"]["always the most frequent answer"]["value"] == 1 / 2
    assert found["n"] == 2
    assert "gone.jpg" in found["skipped"][0]["reason"]
    assert "Is it a boot?" in page(report(None, (answerer, records)))


def test_answers_about_one_image_are_one_sample() -> None:
    records = [
        {"image": f"{image}.jpg", "truth": str(question), "right": image < 6}
        for image in range(20)
        for question in range(5)
    ]
    found = answer_report(records)
    (frequent,) = found["baselines"].values()
    assert (found["n"], frequent["value"]) == (100, 1 / 5)
    assert found["metrics"]["exact_match"]["value"] == 0.3
    assert found["metrics"]["exact_match"]["interval"] == pytest.approx(Proportion(6, 20).interval, abs=0.01)


@pytest.mark.parametrize(
    ("answer", "truth", "right"), [(" Hat.", "hat", True), ("hats", "hat", False), ("a hat", "hat", False)]
)
def test_exact_match_ignores_case_and_the_final_full_stop_only(answer: str, truth: str, right: bool) -> None:
    assert is_right(answer, truth) == right


def test_too_few_readable_images_are_refused(
    captioner: Describer, answerer: Describer, tmp_path: Path
) -> None:
    with pytest.raises(V2LError, match="at least 2"):
        caption_report(
            captioner.pipeline.tokenizer.joint_encoder, evaluate_captions(captioner, [tmp_path / "gone.jpg"])
        )
    (tmp_path / "q.json").write_text('[{"image": "gone.jpg", "question": "What?", "answer": "hat"}]')
    with pytest.raises(V2LError, match="not one image"):
        answer_report(evaluate_answers(answerer, load_questions(tmp_path / "q.json")))


def test_a_question_without_its_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text('[\n{"image": "a.jpg", "question": "What?"}]')
    with pytest.raises(V2LError, match=r"q\.json, line 2: the key 'answer' is missing"):
        load_questions(tmp_path / "q.json")


def test_the_seed_sets_the_order() -> None:
    files = [Path(str(number)) for number in range(20)]
    assert draw(files, 0, None) == draw(files, 0, None) != draw(files, 1, None)
    assert draw(files, 0, 5) == draw(files, 0, None)[:5]

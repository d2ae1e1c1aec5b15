"""Episodes are drawn, saved and loaded; predictions hold their scores; the report holds its settings."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from v2l.datasets import Episode, LabelledImage, save_episodes
from v2l.errors import V2LError
from v2l.pipeline.image_words import ImageWords, WordSelection
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.classification.fewshot import (
    PROTOCOLS,
    FewShotSettings,
    Method,
    Prediction,
    classify_episode,
    evaluate_fewshot,
    find_episodes,
    find_method,
)
from v2l.tasks.classification.label_generation import GENERATION_RULES
from v2l.tasks.classification.label_scoring import SCORING_RULES

METHOD = Method(words=WordSelection(3))
SETTINGS = FewShotSettings(episodes=6, method=METHOD)
WORDS = {"a": ("fur", "paw"), "b": ("wheel", "road"), "q": ("claw",)}
IMAGES = {
    Path(name): ImageWords(words, torch.eye(3)[place]) for place, (name, words) in enumerate(WORDS.items())
}
SHOTS = (LabelledImage(Path("a"), "sea horse"), LabelledImage(Path("b"), "car"))
EPISODE = Episode(SHOTS, LabelledImage(Path("q"), "car"))


@pytest.mark.parametrize("rule", SCORING_RULES)
def test_the_label_with_the_highest_score_is_predicted(pipeline: Pipeline, rule: str) -> None:
    found = classify_episode(pipeline.llm, EPISODE, IMAGES, replace(METHOD, rule=rule, orders=2))
    assert found.scores[found.label] == max(found.scores.values())
    assert set(found.scores) == {"sea horse", "car"}
    assert found.right == (found.label == "car")


@pytest.mark.parametrize("rule", GENERATION_RULES)
def test_generated_text_is_a_label_or_no_label(pipeline: Pipeline, rule: str) -> None:
    found = classify_episode(pipeline.llm, EPISODE, IMAGES, replace(METHOD, rule=rule))
    assert found.label in {"sea horse", "car", None}
    assert found.scores == {}
    assert found.right == (found.text == "car")


def test_a_query_without_a_class_is_neither_right_nor_wrong(pipeline: Pipeline) -> None:
    found = classify_episode(pipeline.llm, Episode(SHOTS, LabelledImage(Path("q"), None)), IMAGES, METHOD)
    assert (found.truth, found.right) == (None, None)


def test_the_official_protocol_accepts_text_that_begins_with_the_name() -> None:
    official, paper = PROTOCOLS["official"], PROTOCOLS["paper"]
    assert official.is_right("fox_squirrel", "fox")
    assert official.is_right("fox_squirrel", "fox squirrel")
    assert not official.is_right("fox", "fox squirrel")
    assert not paper.is_right("fox squirrel", "fox")
    assert paper.is_right("fox squirrel", "fox_squirrel")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_predicts(pipeline: Pipeline, protocol: str) -> None:
    method = replace(find_method(protocol), words=replace(PROTOCOLS[protocol].words, count=3))
    found = classify_episode(pipeline.llm, EPISODE, IMAGES, method)
    assert method.protocol == protocol
    assert isinstance(found.text, str)


def test_an_unknown_protocol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(V2LError, match="default, paper, official"):
        find_method("secret")


def test_an_evaluation_classifies_every_episode_and_reports_its_settings(
    pipeline: Pipeline, samples: Path
) -> None:
    steps = []
    episodes = find_episodes(samples, SETTINGS)
    result = evaluate_fewshot(pipeline, episodes, SETTINGS, progress=lambda *step: steps.append(step))
    report = json.loads(json.dumps(result.to_dict()))
    assert [prediction.query for prediction in result.predictions] == [
        str(episode.query.path) for episode in episodes
    ]
    assert report["n"] == 6
    assert report["accuracy"]["value"] == sum(p.label == p.truth for p in result.predictions) / 6
    low, high = report["accuracy"]["interval"]
    assert low <= report["accuracy"]["value"] <= high
    assert report["baselines"].keys() == {"chance", "majority", "prototype", "shared words"}
    assert report["baselines"]["chance"] == {"value": 0.5}
    assert report["protocol"] == "default"
    assert report["settings"]["method"]["rule"] == METHOD.rule
    assert report["skipped"] == []
    assert report["stack"] == pipeline.describe()
    assert steps[-1] == ("episodes", 6, 6)
    assert steps[0][0] == "images"


def test_an_evaluation_is_deterministic(pipeline: Pipeline, samples: Path) -> None:
    first, second = (evaluate_fewshot(pipeline, find_episodes(samples, SETTINGS), SETTINGS) for _ in range(2))
    assert first == second


def test_predictions_survive_json(pipeline: Pipeline, samples: Path) -> None:
    result = evaluate_fewshot(pipeline, find_episodes(samples, replace(SETTINGS, episodes=1)), SETTINGS)
    (prediction,) = result.predictions
    assert Prediction.from_dict(json.loads(json.dumps(asdict(prediction)))) == prediction


def test_saved_episodes_are_loaded_and_set_ways_shots_and_number(
    pipeline: Pipeline, samples: Path, tmp_path: Path
) -> None:
    drawn = replace(SETTINGS, n_ways=3, k_shots=2, episodes=2)
    episodes = find_episodes(samples, drawn)
    save_episodes(episodes, tmp_path / "episodes.jsonl", samples)
    again = find_episodes(samples, SETTINGS, saved=tmp_path / "episodes.jsonl")
    assert again == episodes
    assert SETTINGS.matching(again) == drawn
    assert evaluate_fewshot(pipeline, again, SETTINGS).to_dict()["baselines"]["chance"][
        "value"
    ] == pytest.approx(1 / 3)


CAT, DOG = ({"path": f"{label}.png", "label": label} for label in ("cat", "dog"))


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "holds no episode"),
        ([{"support": [CAT, DOG], "query": DOG | {"label": "emu"}}], "line 1: the query is of class 'emu'"),
        ([{"support": [CAT], "query": DOG | {"label": "cat"}}], r"the support has 1 class\(es\)"),
        ([{"support": [CAT, DOG], "query": DOG}], "the query is in the support"),
        ([{"support": [CAT | {"label": 3}, DOG], "query": DOG}], "a class is no text"),
        ([{"support": [CAT | {"label": None}, DOG], "query": DOG}], "a class is no text"),
    ],
)
def test_invalid_episodes_are_refused(tmp_path: Path, lines: list[dict], complaint: str) -> None:
    for name in ("cat", "dog"):
        (tmp_path / f"{name}.png").touch()
    path = tmp_path / "episodes.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(V2LError, match=complaint):
        find_episodes(tmp_path, SETTINGS, saved=path)


def test_own_support_and_query_folders_are_classified_without_a_truth(
    pipeline: Pipeline, samples: Path, tmp_path: Path
) -> None:
    for label in ("hat", "dress"):
        image = sorted((samples / label).iterdir())[0]
        (tmp_path / "support" / label).mkdir(parents=True)
        (tmp_path / "support" / label / image.name).write_bytes(image.read_bytes())
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "what.jpg").write_bytes(sorted((samples / "shoes").iterdir())[0].read_bytes())
    result = evaluate_fewshot(pipeline, find_episodes(tmp_path, SETTINGS), SETTINGS)
    assert result.predictions[0].label in {"hat", "dress"}
    assert (result.accuracy, result.to_dict()["accuracy"], result.to_dict()["n"]) == (None, None, 0)
    assert result.baselines == {"majority": None, "prototype": None, "shared words": None}


@pytest.mark.parametrize("change", [{"rule": "coin"}, {"orders": 0}, {"batch_size": 0}])
def test_invalid_methods_are_refused(change: dict) -> None:
    with pytest.raises(V2LError):
        Method(**change)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(V2LError, match="train, eval, all"):
        FewShotSettings(part="half")

"""The LLM's log-probabilities alone decide; every image is read once; the report says what was asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from v2l.datasets import Episode, LabelledImage
from v2l.errors import V2LError
from v2l.prompts.fewshot import FewShotFormat, channel_prompt, fewshot_prompt
from v2l.tasks import FewShotSettings, Stack, evaluate_fewshot, find_episodes
from v2l.tasks.baselines import nearest_prototype
from v2l.tasks.fewshot import CONTENT_FREE, RULES, classify
from v2l.tasks.reading import ReadImage, read_images

SETTINGS = FewShotSettings(episodes=6, n_words=3)
SUPPORTS = [(("fur", "paw"), "cat"), (("wheel", "road"), "car")]
QUERY = ("claw", "fur")


def test_scores_are_the_llms_loglikelihoods_of_labels(stack: Stack) -> None:
    format = FewShotFormat("paper")
    scores = RULES["loglikelihood"](stack.llm, SUPPORTS, QUERY, format)
    for label in ("cat", "car"):
        (whole,) = stack.llm.loglikelihood([(fewshot_prompt(SUPPORTS, QUERY, format), [f" {label}"])])[0]
        assert scores[label] == pytest.approx(whole.total, abs=1e-4)


def test_the_channels_scores_are_the_llms_loglikelihoods_of_words(stack: Stack) -> None:
    format = FewShotFormat("tuned")
    scores = RULES["channel"](stack.llm, SUPPORTS, QUERY, format)
    for label in ("cat", "car"):
        (whole,) = stack.llm.loglikelihood([(channel_prompt(SUPPORTS, label, format), [format.words(QUERY)])])[0]
        assert scores[label] == pytest.approx(whole.total, abs=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_the_highest_score_wins(stack: Stack, rule: str) -> None:
    names = {Path("a"): ("fur", "paw"), Path("b"): ("wheel", "road"), Path("q"): ("claw",)}
    images = {path: ReadImage(words, torch.eye(3)[place]) for place, (path, words) in enumerate(names.items())}
    episode = Episode((LabelledImage(Path("a"), "cat"), LabelledImage(Path("b"), "car")), LabelledImage(Path("q"), None))
    found = classify(stack.llm, episode, images, FewShotSettings(rule=rule))
    assert found.scores[found.label] == max(found.scores.values())
    assert set(found.scores) == {"cat", "car"}
    assert found.truth is None


def test_an_evaluation_answers_every_episode_and_reports_itself(stack: Stack, samples: Path) -> None:
    steps = []
    episodes = find_episodes(samples, SETTINGS)
    result = evaluate_fewshot(stack, episodes, SETTINGS, progress=lambda *step: steps.append(step))
    report = json.loads(json.dumps(result.to_dict()))
    assert [prediction.query for prediction in result.predictions] == [episode.query.path for episode in episodes]
    assert report["n"] == 6
    assert report["accuracy"]["value"] == sum(p.label == p.truth for p in result.predictions) / 6
    low, high = report["accuracy"]["interval"]
    assert low <= report["accuracy"]["value"] <= high
    assert report["baselines"]["chance"] == {"value": 0.5}
    assert report["settings"]["rule"] == SETTINGS.rule
    assert report["stack"] == stack.describe()
    assert steps[-1] == (6, 6)


def test_an_evaluation_repeats_itself(stack: Stack, samples: Path) -> None:
    first, second = (evaluate_fewshot(stack, find_episodes(samples, SETTINGS), SETTINGS) for _ in range(2))
    assert first == second


def test_an_image_is_read_once_and_batches_do_not_matter(stack: Stack, samples: Path) -> None:
    paths = sorted(samples.rglob("*.jpg"))
    together = read_images(stack.tokenizer, [*paths, *paths], n_words=3)
    assert list(together) == paths
    alone = read_images(stack.tokenizer, paths[-1:], n_words=3)[paths[-1]]
    assert alone.words == together[paths[-1]].words
    torch.testing.assert_close(alone.vector, together[paths[-1]].vector, atol=1e-5, rtol=0)


def test_the_nearest_prototype_is_the_nearest_mean(stack: Stack) -> None:
    vectors = {"a1": [1.0, 0.0], "a2": [0.0, 1.0], "b1": [-1.0, 0.0], "b2": [0.0, -1.0], "q": [-0.6, -0.8]}
    images = {Path(name): ReadImage((), torch.tensor(vector)) for name, vector in vectors.items()}
    shots = tuple(LabelledImage(Path(name), name[0]) for name in ("a1", "b1", "a2", "b2"))
    assert nearest_prototype(Episode(shots, LabelledImage(Path("q"), "b")), images) == "b"


def test_own_support_and_query_folders_are_answered_without_a_truth(stack: Stack, samples: Path, tmp_path: Path) -> None:
    for label in ("hat", "dress"):
        image = sorted((samples / label).iterdir())[0]
        (tmp_path / "support" / label).mkdir(parents=True)
        (tmp_path / "support" / label / image.name).write_bytes(image.read_bytes())
    (tmp_path / "query").mkdir()
    (tmp_path / "query" / "what.jpg").write_bytes(sorted((samples / "shoes").iterdir())[0].read_bytes())
    result = evaluate_fewshot(stack, find_episodes(tmp_path, SETTINGS), SETTINGS)
    assert result.predictions[0].label in {"hat", "dress"}
    assert (result.accuracy, result.to_dict()["accuracy"], result.to_dict()["n"]) == (None, None, 0)


def test_a_prompt_beyond_the_context_says_what_to_lower(stack: Stack) -> None:
    with pytest.raises(V2LError, match="fewer shots, ways, words or repeats"):
        RULES["loglikelihood"](stack.llm, SUPPORTS * 20, QUERY, FewShotFormat())


@pytest.mark.parametrize("change", [{"rule": "coin"}, {"part": "half"}, {"prompt": "haiku"}, {"n_words": 0}, {"repeats": -1}])
def test_settings_without_sense_are_refused(change: dict) -> None:
    with pytest.raises(V2LError):
        FewShotSettings(**change)


def test_calibration_takes_out_what_the_llm_likes_anyway(stack: Stack) -> None:
    format = FewShotFormat("tuned")
    plain, empty = (RULES["loglikelihood"](stack.llm, SUPPORTS, words, format) for words in (QUERY, CONTENT_FREE))
    scores = RULES["calibrated"](stack.llm, SUPPORTS, QUERY, format)
    assert scores == pytest.approx({label: plain[label] - empty[label] for label in plain}, abs=1e-4)
    assert RULES["calibrated"](stack.llm, SUPPORTS, CONTENT_FREE, format) == pytest.approx({"cat": 0.0, "car": 0.0}, abs=1e-4)


def test_both_is_the_sum_of_both_directions(stack: Stack) -> None:
    format = FewShotFormat("tuned")
    parts = [RULES[rule](stack.llm, SUPPORTS, QUERY, format) for rule in ("channel", "calibrated")]
    assert RULES["both"](stack.llm, SUPPORTS, QUERY, format) == pytest.approx(
        {label: sum(part[label] for part in parts) for label in parts[0]}
    )

"""Scoring one by one gives the scores that batches and shared prefixes give; the benchmark runs."""

from __future__ import annotations

import sys

import fewshot as fewshot_benchmark
import pytest
from plain.fewshot import OneByOne
from tiny_pipeline import tiny_pipeline

from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.fewshot import FewShotFormat
from v2l.tasks.classification.label_scoring import SCORING_RULES, LabelQuery

QUERY = LabelQuery(
    [(("fur", "paw"), "cat"), (("wheel",), "sports_car"), (("claw", "fur", "tail"), "cat")],
    ("claw", "fur"),
    FewShotFormat("tuned"),
    2,
)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return tiny_pipeline()


@pytest.mark.parametrize("rule", SCORING_RULES)
def test_scores_one_by_one_equal_scores_in_batches(pipeline: Pipeline, rule: str) -> None:
    plain = OneByOne(pipeline.llm.model, pipeline.llm.tokenizer, "plain")
    assert SCORING_RULES[rule](plain, QUERY) == pytest.approx(
        SCORING_RULES[rule](pipeline.llm, QUERY), abs=1e-3
    )


def test_the_benchmark_prints_its_ratio(
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.setenv("V2L_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(Pipeline, "load", lambda **_: pipeline)
    monkeypatch.setattr(
        sys, "argv", ["fewshot.py", "--ways", "2", "--shots", "1", "--episodes", "2", "--words", "3"]
    )
    fewshot_benchmark.main()
    printed = capsys.readouterr().out
    assert "1 of 1 answers are the same" in printed
    assert "ratio" in printed

"""Questions about one image are one sample of the share of right answers."""

from __future__ import annotations

import pytest

from v2l.evaluation.vqa import LLM, YES_NO, Answers, page
from v2l.metrics import Proportion


def test_questions_about_one_image_are_one_sample() -> None:
    record = {"words": ["hat"], "question": "Is it food?", "answer": "no", "truth": "no"}
    records = [record | {"image": f"{image}.jpg"} for image in range(20) for _ in range(7)]
    answers = Answers({LLM: [number < 7 * 15 for number in range(7 * 20)]}, 0.5, records)
    found = answers.to_dict()
    assert found["n"] == 140
    assert found["metrics"]["accuracy"]["value"] == 0.75
    assert found["metrics"]["accuracy"]["interval"] == pytest.approx(Proportion(15, 20).interval, abs=0.01)
    assert f"{answers.shares()[LLM]} | 140" in page({YES_NO: answers})

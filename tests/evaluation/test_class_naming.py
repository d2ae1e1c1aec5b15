"""The share of readable soft tokens has the interval of its images, and keeps the number of its tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from v2l.evaluation.class_naming import ChoiceResult, ChoiceTask, share_readable
from v2l.metrics import Proportion


def test_soft_tokens_of_one_image_are_one_sample() -> None:
    words = [["cup"] * 16] * 6 + [["tea"] * 16] * 14
    share = share_readable(words, ["cup"] * 20)
    assert share is not None
    assert (share.value, share.n, share.groups) == (0.3, 320, 20)
    assert share.interval == pytest.approx(Proportion(6, 20).interval, abs=0.01)
    result = ChoiceResult(ChoiceTask("classes", ((Path("a"), "cup"),), {"cup": ()}), {}, share)
    assert result.to_dict()["readable"] == share.to_dict() | {"soft_tokens": 320}
    assert result.page().endswith(f": {share}; 320 soft tokens of 20 images")


def test_soft_tokens_without_words_have_no_such_share() -> None:
    assert share_readable([(), ()], ["cup", "hat"]) is None

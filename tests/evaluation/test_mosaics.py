"""Mosaics are seeded, their boxes are known, and a word counts only at the right place."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_namer import tiny_namer
from tiny_pipeline import tiny_pipeline

from v2l.canvases import Canvas
from v2l.errors import V2LError
from v2l.evaluation.class_names import ClassNames
from v2l.evaluation.mosaic_pictures import Mosaic, Photograph, draw_mosaics
from v2l.evaluation.mosaics import (
    FoundPhotographs,
    MosaicSettings,
    count_found,
    evaluate_mosaics,
    page,
    photographs_at,
    report,
    share_inside,
)
from v2l.images import load_image
from v2l.metrics import Mean, Proportion
from v2l.places import Area, PlacedWord
from v2l.tokenizers.clusters.model import ClusterTokenizer
from v2l.tokenizers.clusters.settings import ClusterSettings, NetworkSettings, TrainedSettings
from v2l.tokenizers.slices.model import SliceTokenizer
from v2l.tokens import Boxes, CellGrid, ClusterMap, VisualTokens

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def photographs(samples: Path) -> list[Photograph]:
    """Sixteen photographs of four classes."""
    files = sorted(samples.rglob("*.jpg"))
    return [Photograph(file, ClassNames((file.parent.name,))) for file in files]


def test_equal_seeds_draw_equal_mosaics_of_different_classes(photographs: list[Photograph]) -> None:
    mosaics = draw_mosaics(photographs, 4, 3, seed=5)
    assert mosaics == draw_mosaics(photographs, 4, 3, seed=5)
    assert mosaics != draw_mosaics(photographs, 4, 3, seed=6)
    for mosaic in mosaics:
        assert len({photograph.names for photograph in mosaic.photographs}) == 4
        areas = [(right - left) * (bottom - top) for left, top, right, bottom in mosaic.boxes]
        assert sum(areas) == pytest.approx(1)


def test_each_photograph_fills_its_box(photographs: list[Photograph]) -> None:
    (mosaic,) = draw_mosaics(photographs, 2, 1, seed=0)
    picture = mosaic.picture()
    assert picture.shape == (3, 256, 512)
    border = round(mosaic.boxes[0][2] * 512)
    for photograph, part in zip(
        mosaic.photographs, (picture[..., :border], picture[..., border:]), strict=True
    ):
        means = load_image(photograph.file).mean(dim=(1, 2)), part.mean(dim=(1, 2))
        assert torch.allclose(*means, atol=0.15)


@pytest.mark.parametrize(
    ("layout", "shares"),
    [
        (Boxes(torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.25, 0.0, 0.75, 1.0]]])), [1.0, 0.5]),
        (ClusterMap(torch.tensor([[[0, 0, 0, 1], [0, 1, 1, 1]]])), [0.75, 0.25]),
        (CellGrid(1, 2), [1.0, 0.0]),
    ],
)
def test_the_share_inside_a_box_is_that_of_what_the_token_covers(
    layout: Boxes | ClusterMap | CellGrid, shares: list[float]
) -> None:
    assert [share_inside(layout, token, LEFT) for token in range(2)] == pytest.approx(shares)


def test_a_word_is_at_a_place_by_its_centre_and_its_share() -> None:
    corners = torch.tensor([[[0.0, 0.0, 0.6, 1.0], [0.7, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]])
    tokens = VisualTokens("words", torch.zeros(1, 3, dtype=torch.int64), layout=Boxes(corners))
    words = [PlacedWord("dog", 1.0, area, token) for token, area in enumerate(tokens.areas())]
    assert [photographs_at(tokens, word, (LEFT, RIGHT)) for word in words] == [[0], [1], []]


def test_a_photograph_counts_once_and_only_at_its_place(photographs: list[Photograph]) -> None:
    pair = tuple(
        Photograph(photographs[0].file, ClassNames((name,))) for name in ("tench", "Norfolk terrier")
    )
    mosaic = Mosaic(pair, Canvas(tuple(photograph.file for photograph in pair), (LEFT, RIGHT), (256, 512)))
    assert count_found(mosaic, [("tench", [1]), ("dog", [0, 1])]) == 0
    assert count_found(mosaic, [("Tench", [0]), ("tench", [0, 1]), ("terrier", [1])]) == 2


def test_the_evaluation_goes_on_after_a_stop_and_counts_the_same(
    photographs: list[Photograph], tmp_path: Path
) -> None:
    namer = tiny_pipeline().grid.tagger
    tokenizers = {"slices": SliceTokenizer(namer=namer)}
    settings = MosaicSettings(mosaics=2, numbers=(2, 4), words=6)
    whole = evaluate_mosaics(tokenizers, namer, photographs, settings, tmp_path / "log.jsonl")
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "log.jsonl").write_text("".join(lines[:3]), encoding="utf-8")
    again = evaluate_mosaics(tokenizers, namer, photographs, settings, tmp_path / "log.jsonl")
    assert [(one.own, one.bag, one.others) for one in again] == [
        (one.own, one.bag, one.others) for one in whole
    ]
    assert [one.number for one in whole] == [2, 4]
    assert whole[0].words.value == 6
    assert "| slices" in page(whole, 0)
    assert report(whole, settings, {})["metrics"][0]["photographs"] == 2


@pytest.fixture
def copies(photographs: list[Photograph], tmp_path: Path) -> list[Photograph]:
    """The photographs as files of a test, which may change them."""
    return [
        replace(one, file=Path(shutil.copy(one.file, tmp_path / f"{number}.jpg")))
        for number, one in enumerate(photographs)
    ]


def test_a_journal_of_other_photographs_under_the_same_names_is_refused(
    copies: list[Photograph], tmp_path: Path
) -> None:
    namer, settings = tiny_namer(), MosaicSettings(mosaics=2, numbers=(2,), words=2)
    tokenizers, log = {"slices": SliceTokenizer(namer=namer)}, tmp_path / "log.jsonl"
    evaluate_mosaics(tokenizers, namer, copies, settings, log)
    for one in copies[1:]:
        shutil.copy(copies[0].file, one.file)
    with pytest.raises(V2LError, match=r"images\.fingerprint"):
        evaluate_mosaics(tokenizers, namer, copies, settings, log)


def test_a_journal_of_a_tokenizer_that_was_trained_on_is_refused(
    photographs: list[Photograph], tmp_path: Path
) -> None:
    namer, settings = tiny_namer(), MosaicSettings(mosaics=2, numbers=(2,), words=2)
    network = NetworkSettings(16, 2, 4.0, 8, 2, 1, 4, 16)
    tokenizer = ClusterTokenizer(ClusterSettings(side=64), namer, TrainedSettings(network, 48, 16)).eval()
    evaluate_mosaics({"setok": tokenizer}, namer, photographs, settings, tmp_path / "log.jsonl")
    with torch.no_grad():
        next(tokenizer.parameters()).add_(1)
    with pytest.raises(V2LError, match=r"tokenizer_weights\.setok"):
        evaluate_mosaics({"setok": tokenizer}, namer, photographs, settings, tmp_path / "log.jsonl")


def test_the_ratio_to_the_bag_has_an_interval() -> None:
    mean = Mean.of([1.0, 1.0])
    found = FoundPhotographs(4, "slices", mean, mean, (2, 4, 2), (1, 2, 1), (0, 0, 0))
    assert found.ratio(0) == (2.0, 2.0, 2.0)
    assert replace(found, bag=(0, 0, 0)).ratio(0) is None
    rare = replace(found, bag=(0, 1, 0))
    assert rare.ratio(0) == (8.0, 4.0, None)
    json.dumps(rare.to_dict(0), allow_nan=False)
    assert "8.00 (4.00 to no limit)" in page([rare], 0)


def test_photographs_of_one_mosaic_are_one_sample() -> None:
    mean = Mean.of([1.0, 1.0])
    found = FoundPhotographs(4, "slices", mean, mean, (4,) * 6 + (0,) * 14, (1,) * 20, (0,) * 20)
    share = found.recall(found.own)
    assert (share.value, share.n, share.groups) == (0.3, 80, 20)
    assert share.interval == pytest.approx(Proportion(6, 20).interval, abs=0.01)
    assert found.to_dict(0)["another_mosaic"]["interval"] == pytest.approx(Proportion(0, 20).interval)
    assert f"| {share} |" in page([found], 0)


def test_too_few_classes_are_refused_before_any_work(photographs: list[Photograph]) -> None:
    pair = [*photographs[:1], replace(photographs[1], names=photographs[0].names)]
    with pytest.raises(V2LError, match=r"1 class\(es\) for mosaics of 2"):
        draw_mosaics(pair, 2, 1, 0)
    with pytest.raises(V2LError, match="--photographs 2,4"):
        draw_mosaics(photographs, 6, 1, 0)


def test_an_area_without_a_layout_is_nowhere() -> None:
    tokens = VisualTokens("words", torch.zeros(1, 1, dtype=torch.int64))
    assert photographs_at(tokens, PlacedWord("dog", 1.0, Area.of_box(LEFT)), (LEFT, RIGHT)) == []

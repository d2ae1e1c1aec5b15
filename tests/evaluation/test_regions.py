"""The evaluation of clusters: one record a photograph, baselines of equal size, resumed by its journal."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_namer import tiny_namer
from tiny_words_tokenizer import QuarterTokenizer

from v2l.errors import V2LError
from v2l.evaluation.journal import Journal
from v2l.evaluation.regions import METHODS, evaluate_regions, page, report
from v2l.images import save_image
from v2l.sources import ImageFile
from v2l.tokenizers.clusters.model import ClusterTokenizer
from v2l.tokenizers.clusters.settings import ClusterSettings


@pytest.fixture(scope="module")
def tokenizer() -> ClusterTokenizer:
    settings = ClusterSettings(side=32, neighbours=2, threshold=0.3, if_none=1, position_weight=0.0)
    return ClusterTokenizer(settings, tiny_namer()).eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[ImageFile]:
    """Five photographs of 1 to 5 stripes, each with two annotators."""
    folder = tmp_path_factory.mktemp("photographs")
    for count in range(1, 6):
        stripes = (torch.arange(60) * count // 60).expand(40, 60)
        colours = torch.rand(count, 3, generator=torch.Generator().manual_seed(count))
        save_image(colours[stripes].movedim(-1, 0), folder / f"{count}.png")
        for number in range(2):
            save_image(stripes.expand(3, -1, -1) / 255, folder / "segments" / f"{count}_{number}.png")
    return [folder / f"{count}.png" for count in range(1, 6)]


def test_every_photograph_is_a_record_and_people_agree_with_themselves(
    tokenizer: ClusterTokenizer, files: list[ImageFile]
) -> None:
    records = evaluate_regions(tokenizer, files, files[0].parent / "segments", Journal())
    assert [record["segments"] for record in records] == [1, 2, 3, 4, 5]
    assert records[0]["tokens"] == 1
    found = report(records)
    assert list(found["agreement"]) == list(METHODS)
    assert found["agreement"]["annotators among themselves"]["covering"]["value"] == 1
    assert found["clusters_minus"]["one part"]["covering"]["value"] > 0
    assert found["n"] == 5
    text = page(found)
    assert "5 photographs" in text
    assert "k-means" in text


def test_a_journal_goes_on_behind_its_last_record(
    tokenizer: ClusterTokenizer, files: list[ImageFile], tmp_path: Path
) -> None:
    log, segments = tmp_path / "log.jsonl", files[0].parent / "segments"
    evaluate_regions(tokenizer, files[:2], segments, Journal.open(log, {}))
    first = log.read_text(encoding="utf-8")
    assert len(evaluate_regions(tokenizer, files, segments, Journal.open(log, {}))) == 5
    assert log.read_text(encoding="utf-8").startswith(first)


def test_other_tokenizers_and_too_few_photographs_are_refused(
    tokenizer: ClusterTokenizer, files: list[ImageFile]
) -> None:
    segments = files[0].parent / "segments"
    with pytest.raises(V2LError, match="'tiny-quarters' does not divide an image into clusters"):
        evaluate_regions(QuarterTokenizer(), files, segments, Journal())
    with pytest.raises(V2LError, match=r"got 1 photograph\(s\)"):
        evaluate_regions(tokenizer, files[:1], segments, Journal())

"""Regions: proposals, suppression with the published numbers, a user's boxes, and names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_pipeline import tiny_pipeline
from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.part_views import encode_boxes
from v2l.tokenizers.regions.boxes import (
    ScoredBoxes,
    box_around,
    boxes_in_shares,
    read_box,
    read_boxes,
    share_covered,
)
from v2l.tokenizers.regions.levels import mean_of_boxes
from v2l.tokenizers.regions.model import Regions, RegionSettings, RegionTokenizer
from v2l.tokenizers.regions.proposals import windows
from v2l.tokenizers.word_tagger import WordTagger

IMAGE = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def regions() -> RegionTokenizer:
    """Windows scored by the tiny encoder."""
    return RegionTokenizer(RegionSettings(most=5), namer=tiny_pipeline().grid.tagger)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny object-detection model of transformers with random weights."""
    folder = tmp_path_factory.mktemp("detector")
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[32, 48],
        patch_size=16,
        num_detection_tokens=7,
        num_labels=3,
    )
    torch.manual_seed(0)
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessor(size={"height": 32, "width": 48}).save_pretrained(folder)
    return folder


def iou(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    area = max(0.0, width) * max(0.0, height)
    whole = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return area / (whole - area)


def plainly_kept(boxes: list[list[float]], scores: list[float]) -> list[int]:
    """Groma, section 3.1: IoU 0.6, score above 0.15, at most 100; if there is none, the best."""
    kept: list[int] = []
    for number in sorted(range(len(boxes)), key=lambda number: -scores[number]):
        if all(iou(boxes[number], boxes[other]) <= 0.6 for other in kept):
            kept.append(number)
    return [number for number in kept if scores[number] > 0.15][:100] or kept[:1]


@pytest.mark.parametrize("highest", [1.0, 0.1])
def test_suppression_equals_a_plain_reading_of_the_paper(highest: float) -> None:
    generator = torch.Generator().manual_seed(3)
    low, side = (
        torch.rand(300, 2, generator=generator) * 0.6,
        0.1 + torch.rand(300, 2, generator=generator) * 0.3,
    )
    boxes, scores = torch.cat([low, low + side], dim=1), torch.rand(300, generator=generator) * highest
    kept = ScoredBoxes(boxes, scores).best()
    assert kept.tolist() == plainly_kept(boxes.tolist(), scores.tolist())


def test_windows_cover_the_image_at_each_size() -> None:
    boxes = windows()
    assert len(boxes) == len(set(boxes)) == 190
    assert boxes[0] == (0, 0, 1, 1)
    assert (0.5, 0.5, 1, 1) in boxes
    assert all(
        0 <= low < high <= 1.0000001 for box in boxes for low, high in ((box[0], box[2]), (box[1], box[3]))
    )


def test_pooling_a_box_is_the_mean_of_its_features() -> None:
    features = torch.arange(8.0).repeat_interleave(8).view(1, 1, 8, 8).expand(1, 3, 8, 8)  # rows 0 to 7
    pooled = mean_of_boxes(features, torch.tensor([[0.0, 0.0, 1.0, 0.5], [0.25, 0.5, 0.75, 1.0]]))
    assert pooled[:, 0].tolist() == pytest.approx([1.5, 5.5], abs=0.1)
    assert pooled.shape == (2, 3)


def test_an_encoder_without_patch_features_takes_a_users_boxes_only(
    regions: RegionTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(regions.joint_encoder), "patch_features", JointEncoder.patch_features)
    with pytest.raises(V2LError, match="has no features of patches") as caught:
        regions.encode(IMAGE[None])
    assert "\n" not in str(caught.value)
    regions.use_boxes([(0, 0, 10, 10)])
    assert regions.encode(IMAGE[None]).strings()


def test_regions_have_words_boxes_and_names_the_best_first(regions: RegionTokenizer) -> None:
    tokens = regions.encode(torch.stack([IMAGE, IMAGE.flip(-1)]))
    placed = regions.placed_words(tokens)
    assert 1 <= len(placed) <= 5
    assert [word.name for word in placed] == [f"<r{number}>" for number in range(len(placed))]
    explained = regions.explain(IMAGE, tokens[0])
    assert explained.words[0].startswith("<r0> ")
    assert len(explained.words) == len(tokens.outlines()) == len(placed)


def test_windows_can_be_encoded_as_crops_one_by_one(regions: RegionTokenizer) -> None:
    cropping = RegionTokenizer(RegionSettings(most=5, crops=True), namer=regions.namer)
    vectors: list[torch.Tensor] = []
    cropping.namer.nearest = lambda found, count: (  # type: ignore[method-assign]
        vectors.append(found) or WordTagger.nearest(cropping.namer, found, count)
    )
    assert cropping.encode(IMAGE[None]).strings()
    boxes = windows()[:3]
    torch.testing.assert_close(vectors[0][:3], encode_boxes(cropping.joint_encoder, IMAGE, boxes))


def test_regions_of_one_word_that_lie_on_each_other_are_one() -> None:
    tokenizer = RegionTokenizer(namer=tiny_pipeline().grid.tagger)
    boxes = torch.tensor([[0, 0, 0.5, 0.5], [0, 0, 1, 1], [0.25, 0, 0.75, 0.5], [0.8, 0.8, 1, 1]])
    rows = torch.tensor([[1], [2], [1], [1]])
    united = tokenizer._united(Regions(boxes, torch.tensor([[0.9], [0.8], [0.7], [0.6]]), rows))
    assert united.boxes.tolist() == [[0, 0, 0.75, 0.5], [0, 0, 1, 1], boxes[3].tolist()]
    assert united.scores.tolist() == torch.tensor([[0.9], [0.8], [0.6]]).tolist()


def test_the_covered_share_is_that_of_the_smaller_box() -> None:
    whole, quarter, corner = torch.tensor([[0, 0, 1, 1], [0.5, 0.5, 1, 1], [0, 0, 0.25, 0.25]])
    assert share_covered(whole, quarter) == 1
    assert share_covered(quarter, corner) == 0
    assert share_covered(quarter, quarter[:0].new_tensor([0.5, 0.5, 0.5, 0.5])) == 0
    assert box_around(quarter, corner).tolist() == [0, 0, 1, 1]


def test_several_words_of_a_region_share_its_name() -> None:
    tokenizer = RegionTokenizer(RegionSettings(most=2, words=3), namer=tiny_pipeline().grid.tagger)
    placed = tokenizer.placed_words(tokenizer.encode(IMAGE[None]))
    assert [word.name for word in placed[:4]] == ["<r0>", "<r0>", "<r0>", "<r1>"]
    assert placed[0].area == placed[2].area


def test_a_users_boxes_are_the_regions_in_their_order(regions: RegionTokenizer) -> None:
    regions.use_boxes([(48, 0, 96, 64), (0, 0, 48, 32)])
    tokens = regions.encode(IMAGE[None])
    assert tokens.layout.corners[0].tolist() == [[0.5, 0, 1, 1], [0, 0, 0.5, 0.5]]
    alone = RegionTokenizer(namer=regions.namer)
    alone.use_boxes([(0, 0, 48, 64)])
    assert alone.encode(IMAGE[None, :, :, 48:]).words[0][0] == tokens.words[0][0]
    written = regions.image_words(IMAGE[None], 1).written[0]
    assert [text.split(" ")[0] for text in written] == [
        "<r0>",
        "<r1>",
    ]  # both, because a question may name either


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (
            [(0, 0, 97, 10)],
            "the box 0,0,97,10 lies outside the image; allowed: .* inside the image's 96 × 64",
        ),
        ([(-1, 0, 9, 9)], "lies outside the image"),
        ([(5, 5, 5, 9)], "the box 5,5,5,9 is empty"),
        ([(float("nan"), 0, 9, 9)], "got the box nan,0,9,9"),
        ([(0, 0, 9)], "got the box 0,0,9"),
        ([(0, 0, 9, 9)] * 10_000, "got 10,000 boxes; allowed: 1 to 100"),
        ([], "got 0 boxes"),
    ],
)
def test_bad_boxes_are_one_line(boxes: list[tuple[float, ...]], message: str) -> None:
    with pytest.raises(V2LError, match=message) as caught:
        boxes_in_shares(boxes, (64, 96))
    assert "\n" not in str(caught.value)


def test_boxes_are_read_from_options_and_files(tmp_path: Path) -> None:
    assert read_box("1,2,3.5,4") == (1, 2, 3.5, 4)
    path = tmp_path / "boxes.json"
    path.write_text("[[1, 2, 3, 4], [5, 6, 7, 8]]", encoding="utf-8")
    assert read_boxes(path) == [(1, 2, 3, 4), (5, 6, 7, 8)]
    for text in ("1,2,3", "a,b,c,d", ""):
        with pytest.raises(V2LError, match="left,top,right,bottom in pixels"):
            read_box(text)
    for values in ({"box": [1, 2, 3, 4]}, [[1, 2, 3]], [["a", 2, 3, 4]], [[True, 0, 1, 1]]):
        path.write_text(json.dumps(values), encoding="utf-8")
        with pytest.raises(V2LError, match="holds no list of boxes"):
            read_boxes(path)
    path.write_text("[[1, 2", encoding="utf-8")
    with pytest.raises(V2LError, match="cannot read boxes"):
        read_boxes(path)


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (40, 2000)])
def test_extreme_sizes_have_regions(regions: RegionTokenizer, size: tuple[int, int]) -> None:
    assert regions.encode(torch.rand(1, 3, *size)).strings()


def test_a_uniform_image_has_a_region(regions: RegionTokenizer) -> None:
    assert regions.encode(torch.full((1, 3, 64, 64), 0.5)).strings()


def test_a_detector_of_transformers_proposes(regions: RegionTokenizer, detector: Path) -> None:
    regions.use_detector(str(detector))
    proposed = regions.detector.propose(IMAGE)
    assert len(proposed.boxes) == len(proposed.scores) <= 7
    assert float(proposed.boxes.min()) >= 0
    assert float(proposed.boxes.max()) <= 1
    assert 1 <= len(regions.encode(IMAGE[None]).strings()) <= 5


def test_a_folder_without_a_detector_is_one_line(regions: RegionTokenizer, tmp_path: Path) -> None:
    regions.use_detector(str(tmp_path))
    with pytest.raises(V2LError, match="cannot be loaded") as caught:
        regions.encode(IMAGE[None])
    assert "\n" not in str(caught.value)


def test_it_comes_back_from_its_directory(regions: RegionTokenizer, tmp_path: Path) -> None:
    regions.save_pretrained(tmp_path / "regions")
    again = load_tokenizer(tmp_path / "regions", device="cpu")
    assert isinstance(again, RegionTokenizer)
    assert again.settings() == regions.settings()


def test_settings_out_of_range_are_refused() -> None:
    for settings in ({"most": 0}, {"most": 101}, {"words": 0}):
        with pytest.raises(V2LError):
            RegionSettings(**settings)

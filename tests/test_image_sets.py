"""Sets are a function of the seed, say where each image comes from, and refuse folders that cannot give them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

from v2l.checkpoint import file_hash
from v2l.datasets import ClassFolder
from v2l.errors import V2LError
from v2l.image_sets import LINES, SetSettings, draw_box, make_sets, paste, read_sets
from v2l.images import load_image

SETTINGS = SetSettings(groups=2, sharing=2, others=1, pairs=3, sequences=2, seed=4)


@pytest.fixture(scope="module")
def source(samples: Path) -> ClassFolder:
    return ClassFolder.load(samples)


@pytest.fixture(scope="module")
def folder(source: ClassFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sets") / "made"
    make_sets(source, target, SETTINGS)
    return target


def test_the_same_seed_gives_the_same_bytes(source: ClassFolder, folder: Path, tmp_path: Path) -> None:
    make_sets(source, tmp_path / "again", SETTINGS)
    make_sets(source, tmp_path / "other", replace(SETTINGS, seed=5))
    files = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    assert len(files) == 2 + 2 * 3 + 3 * 2 + 2 * 3
    assert all(file_hash(folder / file) == file_hash(tmp_path / "again" / file) for file in files)
    assert file_hash(folder / LINES) != file_hash(tmp_path / "other" / LINES)


def test_a_group_shares_the_class_that_it_names(source: ClassFolder, folder: Path) -> None:
    groups = [line for line in lines_of(folder) if line["task"] == "common"]
    for group in groups:
        classes = [image["class"] for image in group["provenance"]]
        assert sorted(classes.count(name) for name in set(classes)) == [1, 2]
        assert classes.count(group["labels"][0]) == 2
        for file, origin in zip(group["images"], group["provenance"], strict=True):
            assert (folder / file).read_bytes() == (source.root / origin["file"]).read_bytes()


def test_a_pair_differs_in_the_box_alone(folder: Path) -> None:
    pairs = [line for line in lines_of(folder) if line["task"] == "difference"]
    for pair in pairs:
        before, after = (load_image(folder / file) for file in pair["images"])
        left, top, right, bottom = pair["provenance"]["box"]
        changed = (before - after).abs().amax(dim=0)
        assert changed[top:bottom, left:right].max() > 0.02
        changed[top:bottom, left:right] = 0
        assert changed.max() == 0
        assert pair["labels"] == [pair["provenance"]["object"]["class"]]
        assert pair["labels"] != [pair["provenance"]["scene"]["class"]]


def test_a_pasted_object_is_whole_in_its_middle_and_gone_at_its_corners() -> None:
    scene, thing = torch.zeros(3, 64, 80), torch.ones(3, 20, 30)
    box = draw_box((64, 80), Random(3))
    left, top, right, bottom = box
    pasted = paste(scene, thing, box)
    assert pasted[0, (top + bottom) // 2, (left + right) // 2] == pytest.approx(1)
    assert pasted[0, top, left] == 0
    assert 0.3 * 64 - 1 <= bottom - top == right - left <= 0.5 * 64 + 1


def test_sets_are_read_as_they_were_made(folder: Path) -> None:
    found = read_sets(folder)
    assert [one.task for one in found] == ["common"] * 2 + ["difference"] * 3 + ["story"] * 2
    assert {one.change for one in found if one.task == "difference"} <= {"added", "removed"}
    assert all(file.is_file() for one in found for file in one.images)
    assert all(len(one.labels) == len(one.images) for one in found if one.task == "story")


def test_a_label_with_a_rare_space_is_one_line(samples: Path, tmp_path: Path) -> None:
    renamed = Path(shutil.copytree(samples, tmp_path / "samples"))
    (renamed / "hat").rename(renamed / "sun\u2028hat")
    make_sets(ClassFolder.load(renamed), tmp_path / "sets", replace(SETTINGS, groups=4))
    assert len(read_sets(tmp_path / "sets")) == 9


def test_what_cannot_be_drawn_is_refused_and_nothing_is_left(source: ClassFolder, tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="fewer --others, --sharing or --length"):
        make_sets(source, tmp_path / "sets", replace(SETTINGS, sharing=1000))
    with pytest.raises(V2LError, match="fewer --others, --sharing or --length"):
        make_sets(source, tmp_path / "sets", replace(SETTINGS, others=1000))
    assert not (tmp_path / "sets").exists()
    with pytest.raises(V2LError, match="1 in all"):
        SetSettings(0, 2, 1, 0, 0)
    with pytest.raises(V2LError, match="2 and more"):
        SetSettings(sharing=1)
    with pytest.raises(V2LError):
        read_sets(tmp_path)


def test_what_each_image_shows_is_read(folder: Path) -> None:
    for one in read_sets(folder):
        assert len(one.shown) == len(one.images)
        if one.task == "difference":
            object_at = 1 if one.change == "added" else 0
            assert one.labels[0] == one.shown[object_at][1]
            assert one.shown[1 - object_at] == one.shown[object_at][:1]
        elif one.task == "story":
            assert tuple(label for (label,) in one.shown) == one.labels
        else:
            assert one.shown.count(one.labels) == SETTINGS.sharing


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LINES).read_text().splitlines()]

"""Episodes and crops are functions of their seeds, the query is never in the support, and bad files are
passed over."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from v2l.archives import LeftOutWarning
from v2l.datasets import (
    ClassFolder,
    CropSettings,
    Episode,
    ImageDataset,
    LabelledImage,
    draw_episodes,
    has_support_and_query,
    load_episodes,
    read_support_and_query,
    save_episodes,
)
from v2l.errors import V2LError
from v2l.images import Skipped, load_image, resize_and_crop, save_image
from v2l.sources import find_images


def fill(folder: Path, classes: dict[str, int]) -> Path:
    """A folder of class folders with small images, all different."""
    shade = 0
    for name, count in classes.items():
        for index in range(count):
            shade += 1
            save_image(torch.full((3, 6, 6), shade / 255), folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> ClassFolder:
    return ClassFolder.load(
        fill(tmp_path_factory.mktemp("zoo"), {"cat": 4, "dog": 5, "sea_horse": 4, "emu": 4})
    )


def test_classes_are_named_by_their_folders(zoo: ClassFolder) -> None:
    assert list(zoo.classes) == ["cat", "dog", "emu", "sea horse"]
    assert [path.name for path in zoo.classes["cat"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert list(zoo.only(["emu"]).classes) == ["emu"]


def test_two_folders_that_read_the_same_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"sea_horse": 1, "sea horse": 1, "cat": 1})
    with pytest.raises(V2LError, match=r"'sea horse' and 'sea_horse' of .* read the same"):
        ClassFolder.load(tmp_path)


def test_the_parts_of_a_class_folder_share_no_file(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 20, "dog": 20})
    parts = [
        {path for paths in ClassFolder.load(tmp_path, part).classes.values() for path in paths}
        for part in ("train", "eval", "all")
    ]
    assert parts[0] | parts[1] == parts[2]
    assert not parts[0] & parts[1]
    assert 0 < len(parts[1]) < len(parts[0])


def test_a_folder_without_class_folders_is_refused(tmp_path: Path) -> None:
    save_image(torch.zeros(3, 2, 2), tmp_path / "loose.png")
    with pytest.raises(V2LError, match="holds no class folder"):
        ClassFolder.load(tmp_path)
    with pytest.raises(V2LError, match="there is no folder"):
        ClassFolder.load(tmp_path / "none")


@given(n_ways=st.integers(2, 4), k_shots=st.integers(1, 3), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_every_episode_is_fair(zoo: ClassFolder, n_ways: int, k_shots: int, seed: int) -> None:
    for episode in draw_episodes(zoo, n_ways, k_shots, episodes=5, seed=seed):
        paths = [image.path for image in episode.support]
        assert episode.query.path not in paths, "the query is never in the support"
        assert len(set(paths)) == n_ways * k_shots
        assert len(episode.labels) == n_ways
        assert episode.query.label in episode.labels
        assert all(
            sum(image.label == label for image in episode.support) == k_shots for label in episode.labels
        )
        assert all(image.path in zoo.classes[image.label] for image in [*episode.support, episode.query])


def test_episodes_depend_on_seed_and_place_alone(zoo: ClassFolder) -> None:
    many = draw_episodes(zoo, 2, 1, episodes=30, seed=5)
    assert draw_episodes(zoo, 2, 1, episodes=10, seed=5) == many[:10]
    assert draw_episodes(zoo, 2, 1, episodes=30, seed=6) != many
    assert len(set(map(str, many))) > 20


def test_over_many_episodes_every_class_and_every_place_is_drawn(zoo: ClassFolder) -> None:
    episodes = draw_episodes(zoo, 2, 1, episodes=200)
    assert {episode.query.label for episode in episodes} == set(zoo.classes)
    first = sum(episode.support[0].label == episode.query.label for episode in episodes)
    assert 70 < first < 130, "the place of the right answer says nothing"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.zip", r"unzip {0}/a\.zip -d {0}/a$"),
        ("a.tar.gz", r"mkdir {0}/a && tar -xf {0}/a\.tar\.gz -C {0}/a$"),
        ("a.tar", r"mkdir {0}/a && tar -xf"),
        ("a.7z", r"unpack it to {0}/a$"),
    ],
)
def test_an_archive_of_class_folders_is_refused_with_the_way_out(
    name: str, command: str, tmp_path: Path
) -> None:
    (tmp_path / name).touch()
    where = re.escape(str(tmp_path))
    refused = rf"{where}/{re.escape(name)} is an archive, and class folders .*; try: {command.format(where)}"
    with pytest.raises(V2LError, match=refused):
        ClassFolder.load(tmp_path / name)


def test_archives_beside_class_folders_are_counted(tmp_path: Path) -> None:
    plain = ClassFolder.load(fill(tmp_path, {"cat": 2, "dog": 2}))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as packed:
        packed.write(tmp_path / "cat" / "0.png", "cow/0.png")
    left_out = r"1 image\(s\), because class folders are not read from archives \(.*more\.zip/cow/0\.png\)"
    with pytest.warns(LeftOutWarning, match=left_out):
        assert ClassFolder.load(tmp_path) == plain


@pytest.mark.parametrize(
    ("ways", "shots", "episodes", "complaint"),
    [
        (1, 1, 1, "got 1 ways"),
        (2, 0, 1, "got 0 shots"),
        (2, 1, 0, "got 0 episodes"),
        (5, 1, 1, r"has 4 class\(es\) for 5-way episodes"),
        (4, 4, 1, r"has 4 readable image\(s\) without copies; allowed: at least 5"),
    ],
)
def test_impossible_episodes_are_refused(
    zoo: ClassFolder, ways: int, shots: int, episodes: int, complaint: str
) -> None:
    with pytest.raises(V2LError, match=complaint):
        draw_episodes(zoo, ways, shots, episodes)


def test_unreadable_files_are_never_drawn_and_are_listed_once(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "cat" / "bad.png").write_text("no image")
    skipped = Skipped()
    episodes = draw_episodes(ClassFolder.load(tmp_path), 2, 2, episodes=20, skipped=skipped)
    assert all(
        "bad" not in image.path.name for episode in episodes for image in [*episode.support, episode.query]
    )
    assert [path.name for path, _ in skipped.files] == ["bad.png"]


def test_no_query_is_a_copy_of_a_support(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 4, "dog": 3})
    for name in ("cat/copy.png", "cat/again.png", "dog/cat.png"):
        shutil.copy(tmp_path / "cat" / "0.png", tmp_path / name)
    for episode in draw_episodes(ClassFolder.load(tmp_path), 2, 2, episodes=50):
        contents = [image.path.read_bytes() for image in [*episode.support, episode.query]]
        assert len(set(contents)) == len(contents)


def test_copies_do_not_make_enough_images(tmp_path: Path) -> None:
    fill(tmp_path, {"cat": 1, "dog": 2})
    shutil.copy(tmp_path / "cat" / "0.png", tmp_path / "cat" / "copy.png")
    with pytest.raises(V2LError, match=r"class 'cat' .* has 1 readable image\(s\) without copies"):
        draw_episodes(ClassFolder.load(tmp_path), 2, 1, episodes=1)


def test_a_seed_draws_the_same_episodes_in_every_version(samples: Path) -> None:
    (episode,) = draw_episodes(ClassFolder.load(samples), n_ways=2, k_shots=1, episodes=1, seed=5)
    paths = [image.path for image in [*episode.support, episode.query]]
    assert [f"{path.parent.name}/{path.stem}" for path in paths] == [
        "shoes/lace-up",
        "pants/checked",
        "shoes/ballerinas",
    ]


def test_the_sample_photographs_are_enough_for_3_ways_and_2_shots(samples: Path) -> None:
    assert len(draw_episodes(ClassFolder.load(samples), n_ways=3, k_shots=2, episodes=3)) == 3


def test_saved_episodes_are_the_same_anywhere(zoo: ClassFolder, tmp_path: Path) -> None:
    episodes = draw_episodes(zoo, 3, 1, episodes=4)
    save_episodes(episodes, tmp_path / "episodes.jsonl", zoo.root)
    assert load_episodes(tmp_path / "episodes.jsonl", zoo.root) == episodes
    moved = Path(shutil.copytree(zoo.root, tmp_path / "moved"))
    again = load_episodes(tmp_path / "episodes.jsonl", moved)
    assert [episode.query.path.relative_to(moved) for episode in again] == [
        episode.query.path.relative_to(zoo.root) for episode in episodes
    ]


def test_a_query_without_a_class_is_saved_too(zoo: ClassFolder, tmp_path: Path) -> None:
    cat, dog = zoo.classes["cat"], zoo.classes["dog"]
    episode = Episode(
        (LabelledImage(cat[0], "cat"), LabelledImage(dog[0], "dog")), LabelledImage(cat[1], None)
    )
    save_episodes([episode], tmp_path / "episodes.jsonl", zoo.root)
    assert load_episodes(tmp_path / "episodes.jsonl", zoo.root) == [episode]


def test_a_class_with_a_rare_space_is_one_line(tmp_path: Path) -> None:
    zoo = ClassFolder.load(fill(tmp_path / "zoo", {"big\u2028cat": 2, "dog": 2}))
    episodes = draw_episodes(zoo, 2, 1, episodes=2)
    save_episodes(episodes, tmp_path / "episodes.jsonl", zoo.root)
    assert load_episodes(tmp_path / "episodes.jsonl", zoo.root) == episodes


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"support": []}', '{"support": [{"path": "a"}], "query": {"path": 3, "label": "x"}}']
)
def test_a_damaged_line_is_refused_with_its_number(zoo: ClassFolder, tmp_path: Path, line: str) -> None:
    path = tmp_path / "episodes.jsonl"
    save_episodes(draw_episodes(zoo, 2, 1, episodes=1), path, zoo.root)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(V2LError, match="line 2 is no episode"):
        load_episodes(path, zoo.root)


def test_missing_episodes_and_missing_images_are_refused(zoo: ClassFolder, tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="there is no file"):
        load_episodes(tmp_path / "none.jsonl", zoo.root)
    save_episodes(draw_episodes(zoo, 2, 1, episodes=1), tmp_path / "episodes.jsonl", zoo.root)
    with pytest.raises(V2LError, match=r"line 1 names .*which is missing"):
        load_episodes(tmp_path / "episodes.jsonl", tmp_path)


def test_a_user_s_own_support_and_query_are_read(tmp_path: Path) -> None:
    assert not has_support_and_query(fill(tmp_path, {"support/cat": 2, "support/sea_horse": 1}))
    fill(
        tmp_path, {"other/a": 3, "query/cat": 4}
    )  # the shades of query/cat are those behind other's, so none equals a support
    save_image(torch.ones(3, 6, 6), tmp_path / "query" / "unknown.png")
    (tmp_path / "query" / "bad.png").touch()
    assert has_support_and_query(tmp_path)
    skipped = Skipped()
    episodes = read_support_and_query(tmp_path, skipped)
    assert [image.label for image in episodes[0].support] == ["cat", "cat", "sea horse"]
    assert [episode.query.label for episode in episodes] == ["cat"] * 4 + [None]
    assert len({episode.support for episode in episodes}) == 1
    assert [path.name for path, _ in skipped.files] == ["bad.png"]


def test_unfit_support_and_query_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"support/cat": 1})
    (tmp_path / "query").mkdir()
    with pytest.raises(V2LError, match=r"has 1 class\(es\)"):
        read_support_and_query(tmp_path)
    fill(tmp_path, {"support/cat": 1, "support/dog": 1})
    with pytest.raises(V2LError, match="holds no image"):
        read_support_and_query(tmp_path)
    (tmp_path / "query" / "a.png").touch()
    with pytest.raises(V2LError, match="holds no readable image"):
        read_support_and_query(tmp_path)
    shutil.copy(tmp_path / "support" / "cat" / "0.png", tmp_path / "query" / "a.png")
    with pytest.raises(V2LError, match="also a support image"):
        read_support_and_query(tmp_path)
    save_image(torch.ones(3, 6, 6), tmp_path / "query" / "emu" / "a.png")
    (tmp_path / "query" / "a.png").unlink()
    with pytest.raises(V2LError, match="is of class 'emu'; allowed: cat, dog"):
        read_support_and_query(tmp_path)


def test_crops_depend_on_seed_epoch_and_index_alone(samples: Path) -> None:
    paths = find_images(samples)
    one, other = (ImageDataset(paths, CropSettings(size=48, shorter=(48, 96), seed=3)) for _ in range(2))
    first = one[2]
    assert first.shape == (3, 48, 48)
    assert torch.equal(other[2], first), "order of access does not matter"
    one.set_epoch(1)
    assert not torch.equal(one[2], first)
    one.set_epoch(0)
    assert torch.equal(one[2], first)
    assert not torch.equal(ImageDataset(paths, CropSettings(size=48, shorter=(48, 96), seed=4))[2], first)


def test_without_chance_the_centre_is_cropped(samples: Path) -> None:
    paths = find_images(samples)
    dataset = ImageDataset(paths, CropSettings(size=32, random=False))
    assert torch.equal(dataset[0], resize_and_crop(load_image(paths[0]), 32))


def test_every_other_crop_is_mirrored(tmp_path: Path) -> None:
    image = torch.zeros(3, 8, 8)
    image[:, :, 0] = 1
    save_image(image, tmp_path / "a.png")
    dataset = ImageDataset([tmp_path / "a.png"] * 100, CropSettings(size=8))
    mirrored = sum(bool(torch.equal(dataset[index], image.flip(-1))) for index in range(100))
    plain = sum(bool(torch.equal(dataset[index], image)) for index in range(100))
    assert mirrored + plain == 100
    assert 30 < mirrored < 70


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_keep_no_batch_from_filling_and_are_listed_from_every_process(
    tmp_path: Path, workers: int
) -> None:
    fill(tmp_path, {"a": 7})
    (tmp_path / "a" / "3.png").write_text("no image")
    dataset = ImageDataset(find_images(tmp_path), CropSettings(size=4, random=False))
    assert len(dataset.skipped) == 0
    batches = list(DataLoader(dataset, batch_size=2, num_workers=workers))
    assert [len(batch) for batch in batches] == [2, 2, 2, 1]
    assert torch.equal(batches[1][1], dataset[4]), "the next readable file stands in"
    assert [path.name for path, _ in dataset.skipped.files] == ["3.png"]


def test_workers_that_stay_alive_follow_the_epoch(samples: Path) -> None:
    dataset = ImageDataset(find_images(samples)[:4], CropSettings(size=16))
    loader = DataLoader(dataset, batch_size=4, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        (batch,) = loader
        assert torch.equal(batch, torch.stack([dataset[index] for index in range(4)]))


def test_nothing_readable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    dataset = ImageDataset([tmp_path / "a.png"], CropSettings(size=4))
    for _ in range(2):
        with pytest.raises(V2LError, match=r"none of 1 files could be read; the first: .*a\.png is empty"):
            dataset[0]
    with pytest.raises(V2LError, match="got no images"):
        ImageDataset([], CropSettings(size=4))

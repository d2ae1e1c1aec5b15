"""Images come from folders, lists and tar shards alike, each once, in one order, and nothing is unpacked."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from v2l import archives
from v2l.archives import LeftOutWarning, TarMember
from v2l.datasets import CropSettings, ImageDataset
from v2l.errors import V2LError
from v2l.images import Skipped, load_image, load_images, save_image
from v2l.sources import (
    find_images,
    image_bytes,
    image_size,
    image_version,
    same_bytes,
    split_by_hash,
)


def test_copies_links_and_archived_images_are_the_same(samples: Path, tmp_path: Path) -> None:
    first, second, *_ = sorted(samples.rglob("*.jpg"))
    copy, link = tmp_path / "copy.jpg", tmp_path / "link.jpg"
    copy.write_bytes(first.read_bytes())
    link.symlink_to(first)
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(first, "0.jpg")
    (member,) = find_images(tmp_path / "shard.tar")
    for other in (first, copy, link, member):
        assert same_bytes([first, second], [other]) == [first]
    copy.write_bytes(bytes(first.stat().st_size))
    assert same_bytes([first, second], [copy]) == []


def picture(path: Path, shade: int = 0) -> Path:
    save_image(torch.full((3, 6, 6), shade / 255), path)
    return path


def shard(path: Path, *members: Path) -> Path:
    """A webdataset shard: each picture beside its label."""
    with tarfile.open(path, "w") as tar:
        for member in members:
            label = path.with_name(f"{member.stem}.cls")
            label.write_text("7", encoding="utf-8")
            tar.add(member, arcname=member.name)
            tar.add(label, arcname=label.name)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return [picture(tmp_path / "pictures" / f"{index:02}.png", index) for index in range(30)]


def names(*places: str | Path) -> list[str]:
    return [file.name for file in find_images(*places)]


def test_images_are_found_below_a_folder_in_order_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.png", "a.webp", "notes.md", ".hidden.png", ".cache/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == [
        "a.webp",
        "b/1.png",
        "b/2.JPG",
    ]
    assert find_images(tmp_path / "notes.md") == [tmp_path / "notes.md"]


def test_a_tar_shard_is_a_folder_of_images_that_is_not_unpacked(pictures: list[Path], tmp_path: Path) -> None:
    archive = shard(tmp_path / "a.tar", *pictures[:4])
    before = sorted(tmp_path.rglob("*"))
    members = find_images(archive)
    assert [member.name for member in members] == [path.name for path in pictures[:4]]
    for member, path in zip(members, pictures, strict=False):
        assert torch.equal(load_image(member), load_image(path))
        assert image_bytes(member) == path.read_bytes()
        assert image_size(member) == image_size(path) == path.stat().st_size
    assert sorted(tmp_path.rglob("*")) == before


def test_shards_are_found_in_folders_beside_images(pictures: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    picture(folder / "b.png")
    shard(folder / "a.tar", *pictures[:2])
    shard(folder / "c.tar", pictures[2])
    assert names(folder) == ["00.png", "01.png", "b.png", "02.png"]


def test_members_in_folders_and_hidden_members_are_read_as_in_folders(
    pictures: list[Path], tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("cat/0.png", "./dog/0.png", ".hidden/0.png", "cat/._0.png"):
            tar.add(pictures[0], arcname=name)
    members = find_images(tmp_path / "a.tar")
    assert [str(member) for member in members] == [
        f"{tmp_path}/a.tar/cat/0.png",
        f"{tmp_path}/a.tar/./dog/0.png",
    ]
    assert len({member.parent for member in members}) == 2


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_lists_keep_their_order_and_start_at_their_own_folder(
    name: str, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "lists").mkdir()
    lines = ["../pictures/03.png", "../pictures/01.png", "", str(pictures[2])]
    text = "label,path\n" + "\n".join(f"x,{line}" for line in lines) if name == "a.csv" else "\n".join(lines)
    (tmp_path / "lists" / name).write_text(text + "\n", encoding="utf-8")
    assert names(tmp_path / "lists" / name) == ["03.png", "01.png", "02.png"]
    assert all(load_image(file).shape == (3, 6, 6) for file in find_images(tmp_path / "lists" / name))


def test_a_list_is_split_at_the_ends_of_its_lines_alone(pictures: list[Path], tmp_path: Path) -> None:
    odd = pictures[0].rename(pictures[0].with_name("a\u2028b\x0cc.png"))
    listed = tmp_path / "list.txt"
    listed.write_bytes(f"{odd}\r\n{pictures[1]}\n".encode())
    assert find_images(listed) == [odd, pictures[1]]


def test_places_are_joined_in_their_order_and_give_every_image_once(
    pictures: list[Path], tmp_path: Path
) -> None:
    archive = shard(tmp_path / "a.tar", pictures[0])
    found = find_images(pictures[3], archive, pictures[3], tmp_path / "pictures")
    assert [file.name for file in found][:3] == ["03.png", "00.png", "00.png"]
    assert len(found) == len(set(found)) == 31


def test_a_place_may_give_one_part_only(pictures: list[Path], tmp_path: Path) -> None:
    folder, archive = tmp_path / "pictures", shard(tmp_path / "a.tar", *pictures)
    for part in ("train", "eval"):
        found = find_images(f"{folder}@{part}")
        assert found == split_by_hash(pictures, part)
        assert names(f"{archive}@{part}") == [file.name for file in found], (
            "an image does not change sides in an archive"
        )
    assert sorted(find_images(f"{folder}@train", f"{folder}@eval")) == pictures


def test_a_folder_whose_name_looks_like_a_part_is_itself(tmp_path: Path) -> None:
    picture(tmp_path / "me@train" / "a.png")
    assert names(tmp_path / "me@train") == ["a.png"]


def test_a_file_never_changes_sides(tmp_path: Path) -> None:
    paths = [Path(f"image_{index:04}.jpg") for index in range(1000)]
    train, held_out = split_by_hash(paths, "train"), split_by_hash(paths, "eval")
    assert sorted(train + held_out) == paths
    assert 0.76 < len(train) / len(paths) < 0.84
    assert split_by_hash([tmp_path / "elsewhere" / path for path in train], "train") == [
        tmp_path / "elsewhere" / path for path in train
    ]
    assert split_by_hash(paths, "all") == paths
    assert (int(hashlib.sha256(b"image_0000.jpg").hexdigest(), 16) % 100 < 80) == (paths[0] in train)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("folder/notes.md", "text", "holds no image file; allowed: files ending in .jpg"),
        ("empty.txt", "\n\n", r"empty\.txt holds no image file"),
        ("empty.csv", "", r"empty\.csv is empty; allowed: a first line with a column named path"),
        (
            "labels.csv",
            "file,label\na.png,x\n",
            r"labels\.csv has the columns file, label; allowed: a first line with a column named path",
        ),
        ("text.tar", "no archive" * 100, r"text\.tar is damaged, or no tar archive"),
        ("empty.tar", "", r"empty\.tar is damaged, or no tar archive"),
        ("text.zip", "no archive", r"text\.zip is damaged, or no zip archive"),
        ("a.7z", "x", r"a\.7z is an archive of a kind that v2l does not read; .*; try: unpack it"),
    ],
)
def test_a_place_without_images_is_refused_in_one_line(
    name: str, content: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(V2LError, match=complaint) as refused:
        find_images(tmp_path / name.split("/")[0])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("place", ["none", "none@train", "none.tar"])
def test_a_place_that_is_not_there_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(
        V2LError, match=r"there is no folder or file .*; allowed: a folder, an image, a list .* or an archive"
    ):
        find_images(tmp_path / place)


def test_a_part_without_images_is_refused(tmp_path: Path) -> None:
    only = next(f"{index}.png" for index in range(100) if split_by_hash([Path(f"{index}.png")], "train"))
    picture(tmp_path / "one" / only)
    with pytest.raises(V2LError, match="one@eval holds no image file"):
        find_images(f"{tmp_path / 'one'}@eval")


@pytest.mark.parametrize(
    "damage",
    ["cut in a picture", "cut in a header", "no header", "cut when compressed", "changed when compressed"],
)
def test_a_damaged_shard_is_refused(damage: str, pictures: list[Path], tmp_path: Path) -> None:
    archive = shard(tmp_path / "a.tar", *pictures[:3])
    content, last = archive.read_bytes(), find_images(archive)[2].offset
    damaged = {
        "cut in a picture": content[: last + 10],
        "cut in a header": content[: last - 400],
        "no header": content[: last - 512] + b"x" * 512 + content[last:],
        "cut when compressed": gzip.compress(content)[:-30],
        "changed when compressed": bz2.compress(content)[:-4] + b"sum!",
    }[damage]
    archive.write_bytes(damaged)
    with pytest.raises(V2LError, match=r"a\.tar is damaged, or no tar archive"):
        find_images(archive)


def test_a_shard_that_shrank_after_it_was_listed_loses_its_images_only(
    pictures: list[Path], tmp_path: Path
) -> None:
    members = find_images(shard(tmp_path / "a.tar", *pictures[:3]))
    with (tmp_path / "a.tar").open("r+b") as file:
        file.truncate(members[2].offset + 3)
    skipped = Skipped()
    assert [member.name for member, _ in load_images(members, skipped)] == ["00.png", "01.png"]
    assert "a.tar/02.png is cut short" in skipped.report()


def test_a_version_changes_with_the_bytes(pictures: list[Path], tmp_path: Path) -> None:
    member, *_ = find_images(shard(tmp_path / "a.tar", *pictures[:3]))
    assert image_version(member) == image_version(member)
    old = image_version(pictures[0]), image_version(member)
    picture(pictures[0].with_name("new.png"), 9).replace(pictures[0])
    (tmp_path / "a.tar").touch()
    assert None not in old
    assert image_version(pictures[0]) != old[0]
    assert image_version(member) != old[1]
    (tmp_path / "a.tar").unlink()
    pictures[0].unlink()
    assert image_version(member) is image_version(pictures[0]) is None
    assert image_size(pictures[0]) == 0


def test_training_reads_shards_as_it_reads_folders(pictures: list[Path], tmp_path: Path) -> None:
    members = find_images(shard(tmp_path / "a.tar", *pictures[:4]))
    settings = CropSettings(4, seed=3)
    plain, packed = ImageDataset(pictures[:4], settings), ImageDataset(members, settings)
    assert all(torch.equal(plain[index], packed[index]) for index in range(4))
    assert pickle.loads(pickle.dumps(members)) == members, "workers get their own copy"
    assert all(isinstance(member, TarMember) for member in members)


def archive_of(path: Path, files: list[Path]) -> Path:
    """An archive of the kind that its name says, with the files under their names."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in files:
                packed.write(file, file.name)
        return path
    mode = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[path.suffix]
    with tarfile.open(path, mode) as tar:
        for file in files:
            tar.add(file, arcname=file.name)
    return path


KINDS = ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz", "a.zip"]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_archive_is_read_as_a_folder_is(
    name: str, pictures: list[Path], tmp_path: Path
) -> None:
    members = find_images(archive_of(tmp_path / name, pictures))
    assert [member.name for member in members] == [path.name for path in pictures]
    for member, path in zip(reversed(members), reversed(pictures), strict=True):
        assert image_bytes(member) == path.read_bytes()
        assert image_size(member) == path.stat().st_size
    assert pickle.loads(pickle.dumps(members)) == members == find_images(tmp_path / name)
    found = find_images(f"{tmp_path / name}@eval")
    assert [file.name for file in found] == [file.name for file in split_by_hash(pictures, "eval")]


def test_stored_zip_members_are_read(pictures: list[Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_STORED) as packed:
        packed.write(pictures[3], "cat/é.png")
    (member,) = find_images(tmp_path / "a.zip")
    assert image_bytes(member) == pictures[3].read_bytes()


def test_a_compressed_tar_under_the_name_of_a_plain_one_is_read(pictures: list[Path], tmp_path: Path) -> None:
    archive_of(tmp_path / "a.tgz", pictures[:2]).rename(tmp_path / "a.tar")
    assert names(tmp_path / "a.tar") == ["00.png", "01.png"]


@pytest.mark.skipif(archives.HAS_ZSTD, reason="this Python reads zstd")
@pytest.mark.parametrize("name", ["a.tar.zst", "a.TZST"])
def test_an_archive_that_is_not_read_is_refused_with_the_way_out(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x28\xb5\x2f\xfd")
    with pytest.raises(
        V2LError, match=r"does not read; allowed: \.tar, .*\.zip; try: zstd -d .* -o images\.tar"
    ):
        find_images(tmp_path / name)


def test_a_compressed_tar_is_decompressed_once(
    pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    original = gzip.open
    monkeypatch.setattr(gzip, "open", lambda path: opened.append(path) or original(path))
    archive = archive_of(tmp_path / "a.tar.gz", pictures)
    for _ in range(2):
        assert all(load_image(member).shape == (3, 6, 6) for member in find_images(archive))
    assert opened == [archive.resolve()], "not once for each image"


def hostile(path: Path, content: bytes) -> Path:
    """An archive with one good image among members that must not be read."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name in ("good.png", "../out.png", "/absolute/out.png", "C:\\out.png", "notes.md", "._a.png"):
                packed.writestr(name, content)
            link = zipfile.ZipInfo("link.png")
            link.external_attr = 0o120777 << 16
            packed.writestr(link, "good.png")
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name in ("good.png", "../out.png", "/absolute/out.png", "C:\\out.png", "notes.md", "._a.png"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("null.png", tarfile.CHRTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "good.png"
            tar.addfile(entry)
    return path


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_what_is_left_out_is_counted_and_named_and_nothing_is_written(
    name: str, pictures: list[Path], tmp_path: Path
) -> None:
    archive = hostile(tmp_path / name, pictures[0].read_bytes())
    before = sorted(tmp_path.rglob("*"))
    with pytest.warns(LeftOutWarning) as said:
        (good,) = find_images(archive)
    assert (good.name, image_bytes(good)) == ("good.png", pictures[0].read_bytes())
    (line,) = [str(warning.message) for warning in said]
    assert "3 with a name that leads outside the archive (" in line
    assert f"{name}/../out.png" in line
    assert f"1 no picture ({name}/notes.md)" in line
    assert "link(s)" in line
    assert ("1 device(s)" in line) == (name != "a.zip")
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/absolute").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeftOutWarning)
        with pytest.raises(V2LError, match="left out"):
            find_images(archive)


def test_many_left_out_members_are_counted_and_the_first_are_named(
    pictures: list[Path], tmp_path: Path
) -> None:
    notes = [tmp_path / f"{index:02}.cls" for index in range(50, 80)]
    for note in notes:
        note.touch()
    with pytest.warns(LeftOutWarning, match=r"30 no picture \(a\.tar/50\.cls, .*a\.tar/52\.cls, …\)$"):
        found = names(archive_of(tmp_path / "a.tar", [*notes, *pictures]))
    assert found == [picture.name for picture in pictures]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_labels_of_a_picture_are_not_left_out(name: str, pictures: list[Path], tmp_path: Path) -> None:
    labels = [tmp_path / label for label in ("00.cls", "00.json", "00.caption.txt", "01.txt", "02.npy")]
    for label in labels:
        label.touch()
    archive = archive_of(tmp_path / name, [*labels[:3], *pictures[:2], *labels[3:4]])
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeftOutWarning)
        assert names(archive) == ["00.png", "01.png"]
    alone = archive_of(tmp_path / f"b{name[1:]}", [*pictures[:2], *labels])
    with pytest.warns(LeftOutWarning, match=r"^1 member\(s\) .*: 1 no picture \(b\..*/02\.npy\)$"):
        assert names(alone) == ["00.png", "01.png"]


def test_a_label_belongs_to_the_picture_of_its_folder(pictures: list[Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.write(pictures[0], "cat/0.png")
        packed.writestr("cat/0.cls", "7")
        packed.writestr("dog/0.cls", "7")
    with pytest.warns(LeftOutWarning, match=r"1 no picture \(a\.zip/dog/0\.cls\)$"):
        found = find_images(tmp_path / "a.zip")
    assert [str(file) for file in found] == [str(tmp_path / "a.zip" / "cat" / "0.png")]


def test_a_damaged_zip_member_is_skipped(pictures: list[Path], tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", pictures[:2])
    first, second = find_images(archive)
    content = bytearray(archive.read_bytes())
    content[second.offset + 5] ^= 0xFF
    archive.write_bytes(content)
    skipped = Skipped()
    assert [file for file, _ in load_images([first, second], skipped)] == [first]
    assert "is damaged" in skipped.report()

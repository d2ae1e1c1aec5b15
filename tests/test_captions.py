"""Caption files of every layout give images with their captions; what cannot be used is counted and listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from v2l.captions import CaptionedImage, LeftOutCaptions, is_caption_file, read_captions
from v2l.errors import V2LError

COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
    "annotations": [
        {"image_id": 9, "caption": "A red hat."},
        {"image_id": 7, "caption": "Two boots"},
        {"image_id": 9, "caption": "A hat, on a table"},
    ],
}
LAYOUTS = {
    "plain.csv": 'image,caption\nb.jpg,A red hat.\na.jpg,Two boots\nb.jpg,"A hat, on a table"\n',
    "captions.txt": 'image,caption\nb.jpg,A red hat.\na.jpg,Two boots\nb.jpg,"A hat, on a table"\n',  # Flickr8k
    "results.csv": (  # Flickr30k
        "image_name| comment_number| comment\nb.jpg| 0| A red hat.\na.jpg| 0| Two boots\nb.jpg| 1| A hat, on a table\n"
    ),
    "Flickr8k.token": "b.jpg#0\tA red hat.\na.jpg#0\tTwo boots\nb.jpg#1\tA hat, on a table\n",
    "lines.jsonl": "\n".join(
        json.dumps(entry)
        for entry in (
            {"image": "b.jpg", "captions": ["A red hat.", "A hat, on a table"]},
            {"file_name": "a.jpg", "caption": "Two boots"},
        )
    ),
    "captions_train.json": json.dumps(COCO),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_images(folder: Path, name: str) -> None:
    (folder / name).write_text(LAYOUTS[name], encoding="utf-8")
    assert is_caption_file(folder / name)
    assert read_captions(folder / name) == [
        CaptionedImage(folder / "b.jpg", ("A red hat.", "A hat, on a table")),
        CaptionedImage(folder / "a.jpg", ("Two boots",)),
    ]


@pytest.mark.parametrize("space", ["\u2028", "\u2029", "\x85"])
def test_a_rare_space_in_a_caption_is_no_line_break(folder: Path, space: str) -> None:
    entry = {"image": "a.jpg", "caption": f"Two{space}boots"}
    (folder / "lines.jsonl").write_bytes(json.dumps(entry, ensure_ascii=False).encode() + b"\r\n")
    (folder / "all.token").write_text(f"a.jpg#0\tTwo{space}boots\n", encoding="utf-8")
    for name in ("lines.jsonl", "all.token"):
        assert len(read_captions(folder / name)) == 1


def test_images_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "texts" / "all.csv"
    source.parent.mkdir()
    source.write_text("image,caption\na.jpg,Two boots\n", encoding="utf-8")
    assert read_captions(source, folder)[0].file == folder / "a.jpg"


def test_missing_images_and_empty_captions_are_counted_and_listed(folder: Path) -> None:
    source = folder / "some.csv"
    source.write_text("image,caption\na.jpg,Two boots\ngone.jpg,A cat\nb.jpg,  \n", encoding="utf-8")
    left_out = LeftOutCaptions()
    assert [image.file.name for image in read_captions(source, left_out=left_out)] == ["a.jpg"]
    assert left_out.report().splitlines() == [
        f"1 missing image(s): {folder / 'gone.jpg'}",
        f"1 empty caption(s): {folder / 'b.jpg'}",
    ]


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.csv", "path,label\na.jpg,hat\n", "is no caption file"),
        ("a.json", "{", "is no caption file"),
        ("a.json", '{"images": []}', "is no caption file"),
        ("a.jsonl", '{"caption": "x"}', "is no caption file"),
        ("a.csv", "image,caption\ngone.jpg,A cat\n", "no image with a caption: 1 missing"),
        ("a.csv", "image,caption\n", "holds no captions"),
    ],
)
def test_other_files_are_refused_in_one_line(folder: Path, name: str, text: str, match: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(V2LError, match=match) as caught:
        read_captions(folder / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="there is no file"):
        read_captions(tmp_path / "none.csv")

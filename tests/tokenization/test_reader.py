"""Images come out of every kind of file, and one bad file is never the end."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_pictures import add_to_tar, picture

from v2l.errors import V2LError
from v2l.tokenization import reader
from v2l.tokenization.plan import make_plan
from v2l.tokenization.run import Summary
from v2l.tokenization.samples import Refused, Sample
from v2l.tokenization.worker import distinct, read


def found(*places: str | Path, shard: int = 4) -> dict[str, bytes | str]:
    """Of every image its bytes, or the reason why there are none."""
    plan = make_plan([str(place) for place in places], shard)
    refused: list[Refused] = []
    samples = [sample for part in plan.shards for sample in distinct(read(part), refused)]
    notes = {f"note {entry.id}": entry.reason for entry in refused}
    return notes | {
        sample.id: sample.load() if isinstance(sample, Sample) else sample.reason for sample in samples
    }


def captions(place: Path) -> list[str | None]:
    plan = make_plan([str(place)], 10)
    return [sample.caption for part in plan.shards for sample in read(part) if isinstance(sample, Sample)]


def write_tar(path: Path, count: int = 3, mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for number in range(count):
            add_to_tar(tar, f"{number:03d}.png", picture(number))
            add_to_tar(tar, f"{number:03d}.txt", f"picture {number}\n".encode())


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz")])
def test_tars_give_their_members_and_captions(tmp_path: Path, name: str, mode: str) -> None:
    write_tar(tmp_path / name, mode=mode)
    assert found(tmp_path / name) == {f"{name}/{n:03d}.png": picture(n) for n in range(3)}
    assert captions(tmp_path / name) == ["picture 0", "picture 1", "picture 2"]


def test_frames_of_one_key_are_read_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(100):
            add_to_tar(tar, f"frame.{number:03d}.png", picture(number))
            add_to_tar(tar, f"frame.{number:03d}.txt", f"picture {number}\n".encode())
    assert captions(tmp_path / "a.tar") == [f"picture {number}" for number in range(100)]
    whole, count = reader._whole, itertools.count()
    monkeypatch.setattr(reader, "_whole", lambda *args: (next(count), whole(*args))[1])
    [shard] = make_plan([str(tmp_path)], 10).shards
    next(read(shard))
    assert next(count) <= reader.GROUP


def test_pictures_of_one_sample_share_its_caption(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("0.left.png", "0.right.png", "0.txt", "1.png"):
            add_to_tar(tar, name, b"a hat" if name.endswith("txt") else picture(1))
    assert captions(tmp_path / "a.tar") == ["a hat", "a hat", None]


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "a.tar.gz": gzip.compress,
    "a.tar.bz2": bz2.compress,
    "a.tar.xz": lzma.compress,
}


@pytest.mark.parametrize("name", PACKERS)
def test_every_stream_of_a_compressed_tar_is_read(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "a.tar", 9)
    content, pack = (tmp_path / "a.tar").read_bytes(), PACKERS[name]
    with tarfile.open(tmp_path / "a.tar") as tar:
        cut = tar.getmembers()[6].offset  # between two members
    (tmp_path / name).write_bytes(pack(content[:cut]) + pack(content[cut:]))
    assert found(tmp_path / name) == {f"{name}/{n:03d}.png": picture(n) for n in range(9)}


def test_the_end_of_a_compressed_tar_is_checked(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", 3)
    content = bytearray((tmp_path / "a.tar").read_bytes())
    packed = bytearray(gzip.compress(content))
    packed[-8] ^= 1  # in the checksum
    (tmp_path / "sum.tgz").write_bytes(packed)
    with tarfile.open(tmp_path / "a.tar") as tar:
        content[tar.getmembers()[4].offset] ^= 1  # of the third picture
    (tmp_path / "header.tgz").write_bytes(gzip.compress(content))
    assert list(found(tmp_path / "sum.tgz").values()).count("truncated archive") == 1
    assert list(found(tmp_path / "header.tgz").values()) == [picture(0), picture(1), "truncated archive"]


@pytest.mark.parametrize("name", PACKERS)
def test_damaged_bytes_of_a_compressed_tar_are_one_line(tmp_path: Path, name: str) -> None:
    write_tar(tmp_path / "a.tar", 9)
    packed = PACKERS[name]((tmp_path / "a.tar").read_bytes())
    (tmp_path / name).write_bytes(packed[:200] + bytes(100) + packed[300:])
    assert list(found(tmp_path / name).values()).count("truncated archive") == 1


@pytest.mark.parametrize("keep", [0.2, 0.55, 0.9])
def test_a_cut_tar_gives_what_is_whole_and_one_line_for_the_rest(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, 9)
    content = path.read_bytes()[: int(9 * 2 * 1024 * keep) + 700]
    path.write_bytes(content)
    values = found(path)
    assert list(values.values()).count("truncated archive") == 1
    whole = {name: value for name, value in values.items() if isinstance(value, bytes)}
    assert whole == {f"a.tar/{n:03d}.png": picture(n) for n in range(len(whole))}


def test_a_zip_gives_its_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/0.png", picture(0))
        archive.writestr("notes.txt", "no image")
    assert found(tmp_path / "a.zip") == {"a.zip/x/0.png": picture(0)}
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:-30])
    assert found(tmp_path / "a.zip") == {"a.zip": "truncated archive"}


def write_parquet(path: Path, ids: list[str] | None = None) -> None:
    images = [{"bytes": picture(number), "path": None} for number in range(6)]
    columns = {"image": images, "caption": [f"picture {number}" for number in range(6)]}
    pq.write_table(pa.table(columns | ({"id": ids} if ids else {})), path, row_group_size=2)


def test_parquet_rows_come_with_ids_and_captions(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet")
    assert found(tmp_path) == {f"a.parquet/{n}": picture(n) for n in range(6)}
    assert captions(tmp_path / "a.parquet")[5] == "picture 5"
    assert [(s.start, s.stop) for s in make_plan([str(tmp_path)], 4).shards] == [(0, 2), (2, 3)]


def test_duplicate_ids_get_a_suffix_and_a_note(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", ids=["a", "a", "b", "c", "a", "d"])
    values = found(tmp_path, shard=6)
    assert values == {
        "a": picture(0),
        "a#2": picture(1),
        "b": picture(2),
        "c": picture(3),
        "a#3": picture(4),
        "d": picture(5),
        "note a": "duplicate id",
    }


def test_files_of_one_name_in_two_places_stay_apart(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(picture(1))
    assert list(found(tmp_path / "one", tmp_path / "two")) == ["x.png", "x.png#2"]


def test_one_bad_parquet_file_is_a_line_and_only_bad_ones_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [1, 2]}), tmp_path / "bad.parquet")
    with pytest.raises(V2LError, match="has the columns image: int64; allowed: a column of encoded images"):
        make_plan([str(tmp_path)], 4)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    write_parquet(tmp_path / "good.parquet")
    values = found(tmp_path)
    assert (values["bad.parquet"], values["cut.parquet"], len(values)) == ("unreadable", "unreadable", 8)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".txt"])
def test_lists_name_files_beside_them(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "x.png").write_bytes(picture(1))
    rows = {
        ".csv": "path,caption\nx.png,one\ngone.png,two\n",
        ".jsonl": "\n".join(json.dumps({"path": path}) for path in ("x.png", "gone.png")),
        ".txt": "x.png\ngone.png\n",
    }
    (tmp_path / f"list{suffix}").write_text(rows[suffix])
    plan = make_plan([str(tmp_path / f"list{suffix}")], 4)
    first, second = read(plan.shards[0])
    assert isinstance(first, Sample)
    assert isinstance(second, Sample)
    assert first.load() == picture(1)
    with pytest.raises(V2LError, match=r"there is no file .*gone\.png"):
        second.load()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_of_a_list_ends_at_a_line_break_only(tmp_path: Path, end: str) -> None:
    name = "a\u2028b\x85c.png"
    (tmp_path / name).write_bytes(picture(1))
    rows = [{"path": name, "id": 0}, {"path": name, "id": ""}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "list.jsonl").write_bytes(end.join(lines).encode())
    (tmp_path / "list.txt").write_bytes((name + end).encode())
    assert found(tmp_path / "list.jsonl") == {"0": picture(1), name: picture(1)}
    assert found(tmp_path / "list.txt") == {name: picture(1)}


def test_captions_of_a_list_become_texts(tmp_path: Path) -> None:
    given = (["a hat", "a cap"], 7, [], [None], "", {"en": "a hat"})
    rows = [json.dumps({"path": "x.png", "caption": caption}) for caption in given]
    (tmp_path / "list.jsonl").write_text("\n".join(rows))
    (tmp_path / "x.png").write_bytes(picture(1))
    assert captions(tmp_path / "list.jsonl") == ["a hat", "7", None, None, None, "{'en': 'a hat'}"]


def test_half_of_a_character_in_an_id_ends_no_run(run: Callable[..., Summary], tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(picture(1))
    rows = [json.dumps({"path": "x.png", "id": f"\ud83d{number}"}) for number in range(9)]
    (tmp_path / "list.jsonl").write_text("\n".join(rows))
    images = [run(f"{tmp_path}/list.jsonl@{part}", tmp_path / part).images for part in ("train", "eval")]
    assert sum(images) == 9


def test_a_list_without_paths_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name\nx.png\n")
    with pytest.raises(V2LError, match=r"row 1 of .*list\.csv has no path; allowed: a column path or url"):
        make_plan([str(tmp_path / "list.csv")], 4)


def test_a_part_of_a_place_is_chosen_by_the_names_of_images(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", 9)
    for number in range(9):
        (tmp_path / f"{number:03d}.png").write_bytes(picture(number))
    train, evaluation = found(f"{tmp_path}@train"), found(f"{tmp_path}@eval")
    assert len(train) + len(evaluation) == 18
    assert {f"a.tar/{name}" for name in train if "/" not in name} == {name for name in train if "/" in name}


def test_a_part_of_a_bucket_is_read_and_a_name_that_looks_like_one_is_itself() -> None:
    memory = fsspec.filesystem("memory")
    for number in range(20):
        memory.pipe(f"/parts/f/{number:03d}.png", picture(number))
        memory.pipe(f"/parts/g@train/{number:03d}.png", picture(number))
    train, evaluation = found("memory://parts/f@train"), found("memory://parts/f@eval")
    assert evaluation
    assert len(train | evaluation) == len(train) + len(evaluation) == 20
    assert len(found("memory://parts/g@train")) == 20
    assert found("memory://parts/f/*.png@eval") == evaluation


def test_a_saved_data_set_of_hugging_face_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [{"bytes": picture(number), "path": None} for number in range(5)], "text": list("abcde")}
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "set"))
    assert found(tmp_path / "set", shard=2) == {f"set/{n}": picture(n) for n in range(5)}
    assert captions(tmp_path / "set") == list("abcde")


def test_a_missing_file_of_a_data_set_is_one_line(run: Callable[..., Summary], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    (tmp_path / "x.png").write_bytes(picture(1))
    rows = [{"bytes": None, "path": str(tmp_path / name)} for name in ("gone.png", "x.png")]
    features = {"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}}
    table = datasets.Dataset.from_dict({"image": rows}, features=datasets.Features(features))
    table.save_to_disk(str(tmp_path / "set"))
    summary = run(tmp_path / "set", tmp_path / "out")
    assert (summary.images, summary.reasons) == (1, {"missing": 1})


def test_the_column_named_image_is_read_though_another_is_before_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    columns = {
        name: [{"bytes": picture(place), "path": None}] for place, name in enumerate(("mask", "image"))
    }
    features = datasets.Features(dict.fromkeys(columns, datasets.Image()))
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(tmp_path / "set"))
    assert found(tmp_path / "set") == {"set/0": picture(1)}


def test_http_lists_are_read_from_a_server(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    import threading
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    (tmp_path / "x.png").write_bytes(picture(1))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        (tmp_path / "list.txt").write_text(f"{address}/x.png\n")
        assert found(tmp_path / "list.txt") == {f"{address}/x.png": picture(1)}
    finally:
        server.shutdown()


def test_draft_decoding_changes_only_large_jpegs() -> None:
    import numpy as np
    from PIL import Image

    from v2l.images import EncodedImage, read_image

    content = io.BytesIO()
    Image.fromarray(np.zeros((1200, 900, 3), dtype=np.uint8)).save(content, "JPEG")
    large = EncodedImage("large.jpg", content.getvalue())
    assert read_image(large)[0].shape == (3, 1200, 900)
    image, size = read_image(large, needed_pixels=200)
    assert (image.shape, size) == ((3, 300, 225), (1200, 900))
    assert read_image(large, needed_pixels=800)[0].shape == (3, 1200, 900)


def test_a_run_over_a_cut_tar_ends_well(run: Callable[..., Summary], tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", 5)
    (tmp_path / "b.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:3500])
    summary = run(tmp_path, tmp_path / "out")
    assert (summary.images, summary.reasons) == (6, {"truncated archive": 1})

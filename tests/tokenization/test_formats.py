"""Other programs read the files as they are, and rows become tokens and pictures again."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tiny_pictures import picture
from tiny_pipeline import tiny_pipeline
from tiny_titok import tiny_titok
from tiny_tokenizer import tiny_tokenizer

from v2l.errors import V2LError
from v2l.images import load_image
from v2l.tokenization.batch import tokenize_samples
from v2l.tokenization.detokenize import detokenize, file_name, read_rows, unused_name
from v2l.tokenization.plan import Settings
from v2l.tokenization.run import Summary
from v2l.tokenization.samples import Sample
from v2l.tokenization.schema import from_row, table_schema, to_row
from v2l.tokenization.worker import Job, _write_rows
from v2l.tokenization.writer import WRITERS
from v2l.tokenizers.contract import PreparedTokens
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.registry import Member
from v2l.tokens import Boxes, CellGrid, ClusterMap, GridTokens, VisualTokens, Word

Start = Callable[..., Summary]


@pytest.fixture(scope="module")
def parquet(pictures: Path, checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from v2l.tokenization.run import Request, tokenize

    folder = tmp_path_factory.mktemp("formats") / "out"
    tokenize(Request([str(pictures)], str(folder), checkpoint, workers=0, settings=Settings(8), device="cpu"))
    return folder


def test_duckdb_polars_and_datasets_read_the_files(parquet: Path, tmp_path: Path) -> None:
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    datasets = pytest.importorskip("datasets")
    files = f"{parquet}/part-*.parquet"
    assert duckdb.sql(f"select count(*), sum(len(words)) = sum(len(scores)) from '{files}'").fetchall() == [
        (21, True)
    ]
    frame = polars.read_parquet(files)
    assert (frame.height, frame["words"].list.len().min() >= 1) == (21, True)
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert loaded.num_rows == 21
    assert loaded[0]["id"] == frame["id"][0]


def test_every_format_gives_the_same_rows(run: Start, pictures: Path, parquet: Path, tmp_path: Path) -> None:
    def rows(folder: Path) -> list[dict[str, object]]:
        return [
            {
                key: value
                for key, value in row.items()
                if value is not None and key not in ("messages", "scores", "boxes")
            }
            for row in read_rows(str(folder))
        ]

    for name in ("webdataset", "jsonl"):
        run(pictures, tmp_path / name, format=name, shard=8)
        assert rows(tmp_path / name) == rows(parquet)
    line = json.loads((tmp_path / "jsonl" / "part-000000.jsonl").read_text().splitlines()[0])
    assert [message["role"] for message in line["messages"]] == ["user", "assistant"]
    assert line["words"][0] in line["messages"][0]["content"]
    with tarfile.open(tmp_path / "webdataset" / "part-000000.tar") as tar:
        assert {member.mtime for member in tar} == {0}


@pytest.mark.parametrize("name", WRITERS)
def test_names_that_are_no_utf8_are_written_as_escapes(run: Start, tmp_path: Path, name: str) -> None:
    folder = tmp_path / os.fsdecode(b"in\xff")
    folder.mkdir()
    (folder / os.fsdecode(b"good\xff.png")).write_bytes(picture(1))
    (folder / os.fsdecode(b"bad\xff.png")).write_bytes(b"")
    (folder / "list.csv").write_bytes(b"path,caption\ngood\xff.png,h\xffat\nbad\xff.png,\n")
    for place in (folder, folder / "list.csv"):
        out = tmp_path / f"{place.name.isascii()}"
        run(place, out, format=name)
        [row] = read_rows(str(out))
        assert row["id"] == "good\\udcff.png"
        assert row.get("caption") in (None, "h\\udcffat")
        [refused] = pq.read_table(out / "errors" / "errors-000000.parquet").to_pylist()
        assert refused["id"] == "bad\\udcff.png"


@pytest.mark.parametrize("name", WRITERS)
def test_equal_rows_give_equal_bytes(tmp_path: Path, name: str) -> None:
    schema = table_schema(True, {"tokenizer": "v2l"})
    for path in (tmp_path / "a", tmp_path / "b"):
        with WRITERS[name](path, schema) as writer:
            for number in range(3):
                writer.add({"id": str(number), "width": 1, "height": 1, "ids": [number], "vector": [0.5]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with (tmp_path / "a").open("rb") as file:
        assert [row["id"] for row in WRITERS[name].read(file)] == ["0", "1", "2"]


def test_grid_tokens_are_those_of_encode_and_survive_a_row(samples: Path) -> None:
    tokenizer = tiny_pipeline().tokenizer
    files = sorted((samples / "shoes").glob("*.jpg"))[:3]
    found = [Sample(path.name, path.read_bytes) for path in files]
    rows = list(tokenize_samples(tokenizer, found, Settings(vectors=True, forward_batch=2), in_memory=1))
    for path, row in zip(files, rows, strict=True):
        assert isinstance(row, dict)
        expected = tokenizer.encode(load_image(path)[None])
        assert isinstance(expected, GridTokens)
        tokens = from_row(row, "codes")
        assert isinstance(tokens, GridTokens)
        assert torch.equal(tokens.local_ids, expected.local_ids)
        assert torch.equal(tokens.global_ids, expected.global_ids)
        assert tokens.strings() == expected.strings()
        assert len(row["vector"]) == 16


@pytest.mark.parametrize(
    "tokens",
    [
        VisualTokens("words", torch.tensor([[3, 5]]), layout=ClusterMap(torch.tensor([[[0, 1], [-1, 1]]])),
                     words=((Word("a", (1,), 0.5), Word("b", (2,), 0.25)),)),
        VisualTokens("embeddings", embeddings=torch.rand(1, 1, 4)),
        VisualTokens("embeddings", embeddings=torch.rand(1, 6, 4)),
        VisualTokens("embeddings", embeddings=torch.rand(1, 6, 4), layout=CellGrid(2, 3)),
        VisualTokens("embeddings", embeddings=torch.rand(1, 2, 4), layout=Boxes(torch.zeros(1, 2, 4))),
        VisualTokens("codes", torch.tensor([[1, 2, 3]])),
    ],
)  # fmt: skip
def test_tokens_of_every_kind_survive_a_row(tokens: VisualTokens) -> None:
    row = to_row("x", None, (4, 6), PreparedTokens(tokens))
    filled = {name: value for name, value in row.items() if value is not None}  # all that two formats keep
    for kept in (row, filled):
        again = from_row(kept, tokens.kind)
        assert again.places() == tokens.places()
        assert again.strings() == tokens.strings()
        for name in ("ids", "embeddings"):
            before, after = getattr(tokens, name), getattr(again, name)
            assert (before is None and after is None) or torch.equal(before, after)
        if isinstance(tokens.layout, ClusterMap):
            assert isinstance(again.layout, ClusterMap)
            assert torch.equal(again.layout.tokens, tokens.layout.tokens)


@pytest.mark.parametrize(
    "told", [{"words": ["a"] * 6, "scores": [0.0] * 6}, {"boxes": [0.0] * 24}, {"rows": 2, "columns": 3}]
)
def test_files_without_the_number_of_soft_tokens_are_read(told: dict[str, Any]) -> None:
    tokens = from_row({"embeddings": [0.5] * 24, **told}, "embeddings")
    assert tokens.embeddings is not None
    assert tokens.embeddings.shape == (1, 6, 4)


def test_the_files_of_soft_tokens_hold_their_number(tmp_path: Path) -> None:
    tokens = VisualTokens("embeddings", embeddings=torch.rand(1, 6, 4))
    member = Member("soft", "soft", "module:Class", ("embeddings",))
    for name, writer in WRITERS.items():
        job = Job(str(tmp_path), Settings(format=name), {}, member, tmp_path)
        _write_rows(
            job, tmp_path / name, iter([to_row("x", None, (4, 6), PreparedTokens(tokens))]), [], print
        )
        with (tmp_path / name).open("rb") as file:
            [row] = writer.read(file)
        again = from_row(row, "embeddings")
        assert again.embeddings is not None
        assert torch.equal(again.embeddings, tokens.embeddings)


def test_large_rows_do_not_wait_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2l.tokenization.writer.EMBEDDED", 8)
    with WRITERS["parquet"](tmp_path / "a", table_schema(False, {})) as opened:
        for number in range(5):
            opened.add({"id": str(number), "width": 1, "height": 1, "embeddings": [0.5] * 4})
    groups = pq.ParquetFile(tmp_path / "a").metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [2, 2, 1]


def test_a_tokenizer_without_a_decoder_paints_nothing(parquet: Path, tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="v2l detokenize needs a decoder"):
        detokenize(str(parquet), tmp_path / "painted", device="cpu")


@pytest.fixture
def titok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A saved latent tokenizer, which writes 2, 4 or 8 codes."""
    monkeypatch.setattr("v2l.tokenizers.latents.frozen_grid.load_tokenizer", lambda *_: tiny_tokenizer())
    tiny_titok().save_pretrained(tmp_path / "titok")
    return str(tmp_path / "titok")


def test_a_length_is_kept_by_the_folder(run: Start, samples: Path, tmp_path: Path, titok: str) -> None:
    tokens = tmp_path / "tokens"
    with pytest.raises(V2LError, match="allowed: 2, 4, 8"):
        run(samples / "hat", tokens, tokenizer=f"{titok}:3")
    images = run(samples / "hat", tokens, tokenizer=f"{titok}:4").images
    assert {len(row["ids"]) for row in read_rows(str(tokens))} == {4}
    with pytest.raises(V2LError, match="begun with tokenizer length = 4, and now it is None"):
        run(samples / "hat", tokens, tokenizer=titok)
    assert detokenize(str(tokens), tmp_path / "painted", device="cpu").images == images


def test_rows_of_one_name_in_two_shards_are_two_pictures(run: Start, tmp_path: Path, titok: str) -> None:
    for name in ("a", "b"):
        columns = {"id": ["x", "a:y", "a_y"], "image": [picture(number) for number in range(3)]}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    tokens, painted = str(tmp_path / "tokens"), tmp_path / "painted"
    run([f"{tmp_path}/a.parquet", f"{tmp_path}/b.parquet"], tokens, tokenizer=titok)
    first, again = (detokenize(tokens, painted, device="cpu") for _ in range(2))
    assert (first.images, first.there, again.images, again.there) == (6, 0, 0, 6)
    assert {path.name for path in painted.iterdir()} == {
        f"{name}.png" for name in ("x", "x#2", "a_y", "a_y#2", "a_y#3", "a_y#4")
    }


@pytest.mark.embedded
def test_the_shipped_tokenizer_writes_pictures_and_goes_on(samples: Path, tmp_path: Path) -> None:
    from v2l.metrics import psnr
    from v2l.tokenization.run import Request, tokenize

    tokens, painted, seen = str(tmp_path / "tokens"), tmp_path / "painted", []
    tokenize(Request([str(samples / "shoes")], tokens, "v2l", workers=0, device="cpu"))
    first = detokenize(tokens, painted, device="cpu", progress=lambda *bar: seen.append(bar))
    count = len(list((samples / "shoes").iterdir()))
    assert (first.images, first.there) == (count, 0)
    assert seen == [("pictures", number + 1, count) for number in range(count)]
    model = load_tokenizer("v2l", "cpu")
    for path in (samples / "shoes").iterdir():
        wanted = model.square(load_image(path)[None], 128)
        assert psnr(load_image(painted / f"{path.name}.png")[None], wanted) > 20
    (painted / f"{path.name}.png").unlink()
    again = detokenize(tokens, painted, device="cpu")
    assert (again.images, again.there) == (1, count - 1)


def test_a_number_behind_a_name_may_be_an_id_too() -> None:
    named: set[Path] = set()
    names = [str(unused_name(Path(name), named)) for name in ("a.png", "a.png", "a#2.png", "x/a.png")]
    assert names == ["a.png", "a#2.png", "a#2#2.png", "x/a.png"]


def test_names_of_pictures_stay_below_their_folder() -> None:
    assert file_name("a.tar/x/1.jpg") == Path("a.tar/x/1.jpg.png")
    assert file_name("../../etc/passwd") == Path("etc/passwd.png")
    assert file_name("https://host/1.jpg") == Path("https_/host/1.jpg.png")

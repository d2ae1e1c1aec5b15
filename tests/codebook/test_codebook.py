"""A codebook finds the nearest words exactly, and comes back from disk as it was or not at all."""

from __future__ import annotations

import gc
import json
import string
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tokenizer import SOURCE, tiny_codebook
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from v2l.checkpoint import save_tensors, write_manifest
from v2l.codebook import codebook as codebook_module
from v2l.codebook.codebook import Codebook, Entry, family
from v2l.codebook.variety import first_distinct
from v2l.errors import V2LError


def of_words(words: list[str], embeddings: Tensor) -> Codebook:
    return Codebook(tuple(Entry(word, (row,)) for row, word in enumerate(words)), embeddings, SOURCE)


def queries(count: int, dim: int = 16, seed: int = 9) -> Tensor:
    return functional.normalize(
        torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=-1
    )


def brute_force(codebook: Codebook, features: Tensor, count: int) -> list[list[int]]:
    """Rows by falling score, then by rising row, one comparison after another."""
    scores = (features @ codebook.embeddings.float().T).tolist()
    return [sorted(range(len(codebook)), key=lambda row: (-line[row], row))[:count] for line in scores]


def rewritten(folder: Path) -> None:
    """A manifest that vouches for the folder as it is now."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest.pop("files")
    write_manifest(folder, manifest)


def test_nearest_by_distance_has_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            self.numbers = max(self.numbers, made.numel() if isinstance(made, Tensor) else 0)
            return made

    book, features = tiny_codebook(), queries(50)
    cosines, rows = book.nearest_by_distance(features, 20)
    monkeypatch.setattr(codebook_module, "CHUNK_BYTES", 4 * 40 * 4)  # four features at once
    with Largest() as largest:
        in_parts = book.nearest_by_distance(features, 20)
    assert largest.numbers <= 50 * 20
    assert torch.equal(in_parts[1], rows)
    torch.testing.assert_close(in_parts[0], cosines)
    torch.testing.assert_close(cosines, (features[:, None] * book.embeddings[rows]).sum(dim=-1))


def test_a_fingerprint_is_that_of_entries_and_embeddings(tmp_path: Path) -> None:
    book = tiny_codebook()
    book.save(tmp_path / "book")
    assert Codebook.load(tmp_path / "book").fingerprint == book.fingerprint
    others = [
        replace(book, embeddings=-book.embeddings),
        replace(book, entries=(replace(book.entries[0], word="another"), *book.entries[1:])),
    ]
    assert len({book.fingerprint, *(other.fingerprint for other in others)}) == 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_codebook(orders=3).save(tmp_path / "codebook")
    return tmp_path / "codebook"


@given(
    rows=st.integers(1, 30),
    images=st.integers(0, 20),
    chunk=st.integers(1, 7),
    seed=st.integers(0, 5),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_nearest_in_chunks_equals_brute_force(
    rows: int, images: int, chunk: int, seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, rows))
    generator = torch.Generator().manual_seed(seed)
    # whole numbers: sums are exact in any order, and ties are many
    embeddings, features = (
        torch.randint(-1, 2, (size, 4), generator=generator).float() for size in (rows, images)
    )
    codebook = of_words([f"w{row}" for row in range(rows)], embeddings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook_module, "CHUNK_BYTES", 4 * rows * chunk)
        scores, found = codebook.nearest(features, count)
    assert found.tolist() == brute_force(codebook, features, count)
    assert torch.equal(scores, (features @ embeddings.T).gather(1, found))


def test_ties_go_to_the_lower_row() -> None:
    codebook = of_words(list("abcd"), torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]))
    assert codebook.nearest(torch.tensor([[1.0, 0.0]]), 4)[1].tolist() == [[1, 2, 3, 0]]


def test_a_chunk_smaller_than_one_row_of_scores_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    codebook, features = tiny_codebook(), queries(5)
    expected = codebook.nearest(features, 3)[1]
    monkeypatch.setattr(codebook_module, "CHUNK_BYTES", 1)
    assert torch.equal(codebook.nearest(features, 3)[1], expected)


def test_every_word_is_nearest_to_itself_in_half_precision_too() -> None:
    codebook = tiny_codebook()
    half = replace(codebook, embeddings=codebook.embeddings.half())
    scores, rows = half.nearest(codebook.embeddings, 1)
    assert rows.flatten().tolist() == list(range(len(codebook)))
    assert scores.dtype == torch.float32
    assert (scores > 0.999).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Dog", "dogs"),
        ("DOGS", "dog"),
        ("e-mail", "Email"),
        ("ponies", "pony"),
        ("dress", "Dresses"),
        ("glass", "GLASS"),
        ("'truck", "trucks"),
    ],
)
def test_case_marks_and_plural_are_one_family(one: str, other: str) -> None:
    assert family(one) == family(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("dog", "dogma"), ("bus", "bu"), ("gas", "ga"), ("glass", "glas"), ("is", "i"), ("犬", "猫")],
)
def test_other_words_are_other_families(one: str, other: str) -> None:
    assert family(one) != family(other)


def test_distinct_words_are_the_nearest_of_each_family() -> None:
    codebook = of_words(["dogs", "Dog", "cat", "dog", "Cats", "hat"], torch.linspace(1, 0.5, 6)[:, None])
    scores, rows = codebook.nearest_distinct(torch.ones(1, 1), 3)
    assert [codebook.words[row] for row in rows[0].tolist()] == ["dogs", "cat", "hat"]
    torch.testing.assert_close(scores, codebook.embeddings[rows[0]].T)


def test_distinct_words_are_looked_for_in_the_whole_codebook_when_a_crowd_is_near() -> None:
    crowd = ["dog", "Dog", "DOG", "dogs", "-dog", "dog-", "dog's"] * 3
    words = [*crowd, "cat", "hat"]
    codebook = of_words(words, torch.linspace(1, 0.5, len(words))[:, None])
    assert len(crowd) > 4 * 3
    _, rows = codebook.nearest_distinct(torch.ones(2, 1), 3)
    assert [codebook.words[row] for row in rows[1].tolist()] == ["dog", "cat", "hat"]
    assert torch.equal(rows[0], rows[1])


def test_only_the_features_in_a_crowd_are_compared_with_more_words(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd, others = ["dog"] * 100, [f"word{letter}" for letter in string.ascii_letters]
    rows = torch.cat([torch.tensor([[2, 1]]).expand(100, 2), torch.tensor([[1, 2]]).expand(52, 2)])
    codebook = of_words([*crowd, *others], rows.float())
    features = torch.tensor([[0.0, 1], [1, 0], [0, 1]])  # of whole numbers, so that sums are exact
    scores, everything = codebook.nearest(features, len(codebook))
    expected = [first_distinct(codebook.families, row, 2) for row in everything.tolist()]
    compared: list[tuple[int, int]] = []
    nearest = Codebook.nearest

    def noted(self: Codebook, features: Tensor, count: int) -> tuple[Tensor, Tensor]:
        compared.append((len(features), count))
        return nearest(self, features, count)

    monkeypatch.setattr(Codebook, "nearest", noted)
    for found in (codebook.nearest_distinct(features, 2), codebook.nearest_varied(features, 2)):
        assert torch.equal(found[0], scores.gather(1, torch.tensor(expected)))
        assert torch.equal(found[1], everything.gather(1, torch.tensor(expected)))
    assert compared == [(3, 16), (1, 128), (3, 16), (1, 128)]
    assert codebook.nearest_distinct(features[:0], 2)[1].shape == (0, 2)


@pytest.mark.parametrize("count", [1, 5, 20])
def test_distinct_words_do_not_depend_on_the_batch(count: int) -> None:
    words = [f"{stem}{ending}" for stem in "bcdfghjklmnpqrtvwxyz" for ending in ("ab", "abs", "Ab")]
    codebook = of_words(words, queries(len(words), seed=1))
    features = queries(7)
    scores, rows = codebook.nearest_distinct(features, count)
    for image, row in enumerate(rows.tolist()):
        assert len({family(words[place]) for place in row}) == count
        assert codebook.nearest_distinct(features[image : image + 1], count)[1].tolist() == [row]
    assert (scores.diff(dim=1) <= 0).all()


def test_more_distinct_words_than_there_are_is_refused() -> None:
    codebook = of_words(["dog", "Dog", "cat"], torch.eye(3))
    with pytest.raises(V2LError, match="asked for 3 words of a codebook with 2 distinct ones"):
        codebook.nearest_distinct(torch.ones(1, 3), 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_was_saved_is_loaded(dtype: torch.dtype, tmp_path: Path) -> None:
    entries = (
        Entry("fire truck", (7, 9), 2, 13),
        Entry("消防車", (4,), aliases=(5, 6)),
        Entry('"\\', (8,)),
        Entry("a\u2028b", (1,)),
        Entry("a\u0085b", (2,)),
    )
    codebook = Codebook(
        entries, queries(5).to(dtype), SOURCE, {"dropped": {"byte": 3}, "templates": ["a {}"]}
    )
    codebook.save(tmp_path / "codebook")
    loaded = Codebook.load(tmp_path / "codebook")
    assert (loaded.entries, loaded.source, loaded.metadata) == (entries, SOURCE, codebook.metadata)
    assert loaded.embeddings.dtype == dtype
    assert torch.equal(loaded.embeddings, codebook.embeddings)


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    Codebook.load(folder).save(tmp_path / "again")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()
    }


def test_its_words_can_be_read_by_people(folder: Path) -> None:
    lines = (folder / "entries.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[2]) == {
        "word": "word2",
        "ids": [102, 103, 104],
        "order": 3,
        "count": 0,
        "aliases": [],
    }


@pytest.mark.parametrize("name", ["manifest.json", "entries.jsonl", "embeddings.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "empty"])
def test_a_damaged_codebook_is_refused_in_one_line(name: str, damage: str, folder: Path) -> None:
    content = (folder / name).read_bytes()
    if damage == "missing":
        (folder / name).unlink()
    else:
        changed = bytes([content[0] ^ 1, *content[1:]])
        (folder / name).write_bytes({"truncated": content[:-9], "changed": changed, "empty": b""}[damage])
    with pytest.raises(V2LError) as refused:
        Codebook.load(folder)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"kind": "tokenizer", "schema": 1})
    with pytest.raises(V2LError, match="has kind 'tokenizer'; allowed: kind 'codebook'"):
        Codebook.load(tmp_path)


def test_more_words_than_rows_are_refused(folder: Path) -> None:
    save_tensors(folder / "embeddings.safetensors", {"embeddings": queries(39)})
    rewritten(folder)
    with pytest.raises(V2LError, match="the codebook has 40 words for 39 rows; allowed: one row a word"):
        Codebook.load(folder)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_numbers_that_are_none_are_refused(value: float, folder: Path) -> None:
    embeddings = queries(40)
    embeddings[7, 3] = value
    save_tensors(folder / "embeddings.safetensors", {"embeddings": embeddings})
    rewritten(folder)
    with pytest.raises(V2LError, match="hold NaN or infinity; allowed: finite numbers"):
        Codebook.load(folder)


def test_a_codebook_without_words_is_refused() -> None:
    with pytest.raises(V2LError, match="the codebook has no words"):
        tiny_codebook().select([])


def test_a_selection_keeps_words_with_their_rows_in_the_given_order() -> None:
    codebook = replace(tiny_codebook(), metadata={"a": 1, "b": 1})
    chosen = codebook.select(torch.tensor([9, 2]), b=2)
    assert chosen.words == ("word9", "word2")
    assert torch.equal(chosen.embeddings, codebook.embeddings[[9, 2]])
    assert chosen.metadata == {"a": 1, "b": 2}
    assert codebook.metadata == {"a": 1, "b": 1}


def test_token_ids_are_the_single_ids_of_the_rows() -> None:
    assert tiny_codebook(5).token_ids.tolist() == [100, 101, 102, 103, 104]
    assert tiny_codebook().token_ids.dtype == torch.int64


def test_ngrams_have_no_single_token_ids() -> None:
    with pytest.raises(
        V2LError,
        match="a local codebook needs single tokens, and this one has n-grams; allowed: the codebook named local",
    ):
        tiny_codebook(orders=2).token_ids.tolist()


def test_a_row_is_found_by_its_token_and_its_aliases() -> None:
    entries = (Entry("dog", (3,), aliases=(8, 9)), Entry("cat", (4,)), Entry("fire truck", (5, 6), 2))
    assert Codebook(entries, torch.eye(3), SOURCE).row_of_token == {3: 0, 8: 0, 9: 0, 4: 1}


def test_reading_a_codebook_needs_no_llm(folder: Path) -> None:
    program = (
        f"import sys; from v2l.codebook.codebook import Codebook; Codebook.load({str(folder)!r}); "
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def coarse(values: torch.Tensor) -> torch.Tensor:
    """Multiples of 1/64: products and their sums are exact in float32 for any number of threads."""
    return (values * 64).round() / 64


@pytest.mark.parametrize("count", [1, 4, 40])
@pytest.mark.parametrize("size", [1, 7, 16384])
def test_nearest_does_not_depend_on_how_many_rows_are_compared_at_once(
    size: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = tiny_codebook()
    first_half = coarse(book.embeddings[:20])
    doubled = replace(book, embeddings=torch.cat([first_half, first_half]))  # every score comes twice
    vectors = coarse(queries(9))
    order = (vectors @ doubled.embeddings.T).sort(dim=-1, descending=True, stable=True)
    monkeypatch.setattr("v2l.codebook.codebook.ROWS", size)
    scores, rows = doubled.nearest(vectors, count)
    torch.testing.assert_close(scores, order.values[:, :count])
    assert torch.equal(rows, order.indices[:, :count])


def test_loading_leaves_the_collection_of_garbage_as_it_was(folder: Path) -> None:
    assert gc.isenabled()
    Codebook.load(folder)
    assert gc.isenabled()


def test_merged_codebooks_keep_the_first_of_equal_ids() -> None:
    one, other = tiny_codebook(6).select([0, 1, 2]), tiny_codebook(6).select([5, 2, 1])
    changed = replace(
        other, entries=(other.entries[0], replace(other.entries[1], word="another"), other.entries[2])
    )
    merged = one.merge(changed)
    assert merged.words == ("word0", "word1", "word2", "word5")
    assert torch.equal(merged.embeddings, tiny_codebook(6).embeddings[[0, 1, 2, 5]])
    assert (merged.metadata["sizes"], merged.metadata["duplicate"]) == ([3, 3], 2)


@pytest.mark.parametrize("kind", ["llm", "encoder"])
def test_codebooks_of_different_models_are_not_merged(kind: str) -> None:
    book = tiny_codebook(3)
    moved = replace(book, source=replace(book.source, **{kind: "moved"}))
    assert len(book.merge(moved)) == 3, "a name is no model"
    other = replace(
        book, source=replace(book.source, **{kind: "other", f"{kind}_fingerprint": "0123456789abcdef"})
    )
    with pytest.raises(
        V2LError, match=rf"one codebook is of the {kind} .*, the other of other \(0123456789ab…\)"
    ):
        book.merge(other)

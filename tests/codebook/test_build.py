"""A build counts everything, keeps what enough photographs are near to, and can be stopped anywhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from tiny_encoder import tiny_encoder

from v2l.codebook import build as build_module
from v2l.codebook.build import CodebookBuilder
from v2l.codebook.codebook import Codebook
from v2l.codebook.vocabulary import read_vocabulary
from v2l.encoders import JointEncoder
from v2l.engines.engine import Engine
from v2l.errors import V2LError
from v2l.llm import FrozenLLM
from v2l.prompts.prompt import Prompt
from v2l.shards import Shards

Make = Callable[..., CodebookBuilder]


@dataclass(frozen=True)
class ScriptedLLM:
    """Pieces and what follows each: the last piece of a prompt decides."""

    pieces: tuple[str, ...]
    following: dict[str, str]
    name: str = "scripted"
    fingerprint: str = "scripted"
    weights_fingerprint: str = "scripted"
    special_ids: frozenset[int] = frozenset()

    @property
    def vocabulary_size(self) -> int:
        return len(self.pieces)

    def piece(self, token_id: int) -> str:
        return self.pieces[token_id]

    def surface(self, token_id: int) -> str:
        return self.pieces[token_id]

    def next_tokens(self, prompts: Sequence[Prompt], count: int) -> list[tuple[int, ...]]:
        texts = [prompt.text(lambda ids: "".join(map(self.surface, ids))) for prompt in prompts]
        return [
            tuple(
                self.pieces.index(after) for piece, after in self.following.items() if text.endswith(piece)
            )[:count]
            for text in texts
        ]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def built(builder: Make, photographs: list[Path], tmp_path: Path) -> tuple[Codebook, Codebook]:
    """The local codebook and a global one that keeps every candidate."""
    return builder(min_count=0).build(photographs, tmp_path / "built")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of at most sixty items, so that every step but the images has several."""
    monkeypatch.setattr(
        build_module,
        "Shards",
        lambda folder, step, progress, size, world: Shards(folder, step, progress, min(size, 60)),
    )


def test_what_is_returned_is_what_was_written(built: tuple[Codebook, Codebook], tmp_path: Path) -> None:
    for name, codebook in zip(("local", "global"), built, strict=True):
        loaded = Codebook.load(tmp_path / "built" / name)
        assert (loaded.entries, loaded.source, loaded.metadata) == (
            codebook.entries,
            codebook.source,
            codebook.metadata,
        )
        assert torch.equal(loaded.embeddings, codebook.embeddings)


def test_the_manifest_names_both_models_and_the_settings(
    built: tuple[Codebook, Codebook], encoder: JointEncoder, llm: FrozenLLM, tmp_path: Path
) -> None:
    manifest = json.loads((tmp_path / "built" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["source"] == {
        "llm": "tiny",
        "llm_fingerprint": llm.fingerprint,
        "encoder": encoder.name,
        "encoder_fingerprint": encoder.fingerprint,
    }
    assert manifest["config"]["min_count"] == 0
    assert manifest["kind"] == "codebooks"


def test_the_local_codebook_is_the_vocabulary(
    built: tuple[Codebook, Codebook], encoder: JointEncoder, llm: FrozenLLM
) -> None:
    local, vocabulary = built[0], read_vocabulary(llm, encoder.tokenize_texts)
    assert tuple(local.token_ids.tolist()) == vocabulary.ids
    assert tuple(entry.aliases for entry in local.entries) == vocabulary.aliases
    assert local.words == tuple(surface.strip() for surface in vocabulary.surfaces)
    assert (
        len(local) + sum(local.metadata["dropped"].values())
        == local.metadata["vocabulary"]
        == llm.vocabulary_size
    )


def test_no_two_entries_share_a_token_sequence(
    built: tuple[Codebook, Codebook], encoder: JointEncoder
) -> None:
    for codebook in built:
        assert len(set(encoder.tokenize_texts(codebook.words))) == len(codebook)
        assert len({entry.ids for entry in codebook.entries}) == len(codebook)


def test_embeddings_are_those_of_the_words_over_the_templates(
    built: tuple[Codebook, Codebook], encoder: JointEncoder
) -> None:
    for codebook in built:
        mean = sum(
            encoder.encode_texts([template.format(word) for word in codebook.words])
            for template in codebook.metadata["templates"]
        )
        expected = mean / mean.norm(dim=-1, keepdim=True)
        torch.testing.assert_close(
            codebook.embeddings.float(), expected, atol=1e-3, rtol=0
        )  # stored in half precision


def test_the_global_codebook_has_all_orders_and_whole_words(
    built: tuple[Codebook, Codebook], llm: FrozenLLM
) -> None:
    assert {entry.order for entry in built[1].entries} == {1, 2, 3}
    before = llm.encode_pieces("a")
    for entry in built[1].entries:
        assert entry.order == len(entry.ids)
        assert llm.decode([*before, *entry.ids])[1:].strip() == entry.word


@pytest.mark.parametrize("order", [1, 2])
def test_the_longest_ngram_is_a_setting(
    order: int, builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    _, words = builder(min_count=0, max_order=order).build(photographs, tmp_path / "built")
    assert {entry.order for entry in words.entries} == set(range(1, order + 1))


def test_every_candidate_is_kept_or_counted(built: tuple[Codebook, Codebook], llm: FrozenLLM) -> None:
    words, dropped = built[1], Counter(built[1].metadata["dropped"])
    subwords = llm.vocabulary_size - sum(
        dropped[reason] for reason in ("control", "byte", "whitespace", "duplicate", "fragment")
    )
    bigrams = subwords - dropped["no 2-gram (the continuation is no word)"]
    trigrams = bigrams - dropped["no 3-gram (the continuation is no word)"]
    without_meaning = (
        dropped["unfinished word"] + dropped["n-gram that dangles"] + dropped["duplicate n-gram"]
    )
    assert subwords + bigrams + trigrams - without_meaning == len(words) == words.metadata["candidates"]


def test_an_ngram_that_reads_like_a_word_is_a_duplicate(encoder: JointEncoder, builder: Make) -> None:
    scripted = ScriptedLLM(
        (" firetruck", " fire", " truck", ".", "truck"), {"fire": "truck", "truck": ".", ".": "."}
    )
    make = replace(builder(max_order=2), llm=scripted)
    grams, dropped = make.candidates(read_vocabulary(scripted, encoder.tokenize_texts))
    lost = Counter(each.reason for each in dropped)
    assert [gram.surface for gram in grams] == [" firetruck", " fire", " truck", "."]
    assert lost["duplicate n-gram"] == 1
    assert lost["no 2-gram (the continuation is no word)"] == 3


def test_words_that_nothing_follows_end_the_expansion(
    builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    scripted = ScriptedLLM((" hat", " shoe", "."), {"": "."})
    _, words = replace(builder(min_count=0), llm=scripted).build(photographs, tmp_path / "built")
    assert words.words == ("hat", "shoe", ".")
    assert words.metadata["dropped"]["no 2-gram (the continuation is no word)"] == 3
    assert words.metadata["dropped"].get("no 3-gram (the continuation is no word)", 0) == 0


def test_counts_add_up_to_five_an_image(built: tuple[Codebook, Codebook], photographs: list[Path]) -> None:
    assert (
        sum(entry.count for entry in built[1].entries)
        == 5 * len(photographs)
        == 5 * built[1].metadata["images"]
    )


def test_the_workers_of_an_engine_count_the_same_votes(
    builder: Make, photographs: list[Path], built: tuple[Codebook, Codebook], tmp_path: Path
) -> None:
    shared = replace(builder("shared", min_count=0), engine=Engine(workers=2, device="cpu"))
    _, found = shared.build(photographs, tmp_path / "shared-built")
    assert [entry.count for entry in found.entries] == [entry.count for entry in built[1].entries]


@pytest.mark.parametrize(("min_count", "keep"), [(1, 0), (3, 0), (0, 4), (2, 3), (1, 10**6)])
def test_enough_images_and_the_most_often_seen(
    min_count: int,
    keep: int,
    builder: Make,
    built: tuple[Codebook, Codebook],
    photographs: list[Path],
    tmp_path: Path,
) -> None:
    everything = built[1]
    ranked = sorted(range(len(everything)), key=lambda row: -everything.entries[row].count)[: keep or None]
    expected = sorted(row for row in ranked if everything.entries[row].count >= min_count)
    assert expected
    _, words = builder(min_count=min_count, keep=keep).build(photographs, tmp_path / "filtered")
    assert words.entries == tuple(everything.entries[row] for row in expected)
    assert torch.equal(words.embeddings, everything.embeddings[expected])


def test_more_images_than_there_are_leave_no_word_and_no_file(
    builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(V2LError, match="the codebook has no words"):
        builder(min_count=10**6).build(photographs, tmp_path / "built")
    assert not (tmp_path / "built").exists()


def test_bad_images_are_listed_and_change_nothing_else(
    builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "note.jpg").write_text("no image", encoding="utf-8")
    make = builder(min_count=1)
    _, clean = make.build(photographs, tmp_path / "clean")
    _, words = make.build([tmp_path / "note.jpg", *photographs], tmp_path / "built")
    assert words.entries == clean.entries
    assert (words.metadata["unreadable_images"], words.metadata["images"]) == (["note.jpg"], len(photographs))


@pytest.mark.parametrize("older", [False, True], ids=["new place", "older build"])
def test_a_folder_without_a_readable_image_writes_nothing(
    older: bool, builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    target, bad = tmp_path / "built", tmp_path / "note.jpg"
    bad.write_text("no image", encoding="utf-8")
    if older:
        builder().build(photographs, target)
    before = contents(target)
    with pytest.raises(V2LError, match="none of 1 files is a readable image"):
        builder().build([bad], target)
    assert contents(target) == before
    assert target.exists() is older
    assert not list(tmp_path.glob(".v2l-*"))


@pytest.mark.usefixtures("small_parts")
def test_a_build_that_is_stopped_after_every_part_gives_the_same_bytes(
    builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    events: list[tuple[str, int, int]] = []
    builder("whole", lambda *event: events.append(event)).build(photographs, tmp_path / "whole-build")
    assert len({step for step, _, _ in events}) == 4 < len(events)
    seen: set[tuple[str, int, int]] = set()

    def stop_at_news(*event: str | int) -> None:
        if event not in seen:
            seen.add(event)
            raise KeyboardInterrupt

    for _ in events:
        with pytest.raises(KeyboardInterrupt):
            builder("stopped", stop_at_news).build(photographs, tmp_path / "stopped-build")
        assert not (tmp_path / "stopped-build").exists()
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped").glob("*.safetensors")}
    builder("stopped", stop_at_news).build(photographs, tmp_path / "stopped-build")
    assert contents(tmp_path / "stopped-build") == contents(tmp_path / "whole-build")
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "stopped").glob("*.safetensors")
    } == parts  # nothing was computed twice


def test_a_build_that_is_stopped_inside_a_part_leaves_no_half_part(
    builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    stopping = replace(builder(), llm=stopping_llm(builder().llm))
    with pytest.raises(KeyboardInterrupt):
        stopping.build(photographs, tmp_path / "built")
    assert not (tmp_path / "built").exists()
    assert not [
        path
        for path in (tmp_path / "work").iterdir()
        if not path.name.startswith(("encoding-images", "begun-"))
    ]
    builder("fresh").build(photographs, tmp_path / "fresh-build")
    builder().build(photographs, tmp_path / "built")
    assert contents(tmp_path / "built") == contents(tmp_path / "fresh-build")


def stopping_llm(llm: FrozenLLM) -> FrozenLLM:
    """The same LLM, stopped by its user while it continues the first words."""

    def stop(prompts: Sequence[Prompt], count: int) -> list[tuple[int, ...]]:
        FrozenLLM.next_tokens(llm, prompts[:3], count)
        raise KeyboardInterrupt

    same = FrozenLLM(llm.model, llm.tokenizer, llm.name)
    same.next_tokens = stop
    return same


def test_another_encoder_uses_no_old_part(builder: Make, photographs: list[Path], tmp_path: Path) -> None:
    other = tiny_encoder(tmp_path / "other", seed=1)
    builder().build(photographs, tmp_path / "first")
    local, _ = replace(builder(), encoder=other).build(photographs, tmp_path / "second")
    replace(builder("fresh"), encoder=other).build(photographs, tmp_path / "third")
    assert contents(tmp_path / "second") == contents(tmp_path / "third")
    assert local.source.encoder_fingerprint == other.fingerprint


def test_the_encoders_own_templates_are_the_default(builder: Make, encoder: JointEncoder) -> None:
    assert builder(templates=()).templates == encoder.templates
    assert builder(templates=("my {}",)).templates == ("my {}",)

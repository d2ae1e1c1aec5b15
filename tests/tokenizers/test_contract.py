"""The contract of visual tokenizers, kept by two members that have nothing in common."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_pipeline import tiny_pipeline
from tiny_words_tokenizer import NAME, QuarterTokenizer

from v2l.checkpoint import read_manifest
from v2l.errors import V2LError
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.needs import require_decoder, require_grid_codes, require_words
from v2l.tokenizers.registry import (
    NEEDS,
    member_named,
    register_tokenizer,
    tokenizer_names,
)
from v2l.tokens import CellGrid


@pytest.fixture(scope="module")
def members() -> list[ImageTokenizer]:
    """The V2L grid, and a tokenizer with one word for each bright quarter."""
    return [tiny_pipeline().tokenizer, QuarterTokenizer()]


def test_each_image_keeps_its_own_number_of_tokens(members: list[ImageTokenizer]) -> None:
    images = torch.rand(3, 3, 64, 64)
    for tokenizer in members:
        tokens = tokenizer.encode(images)
        assert len(tokens) == 3
        for index in range(3):
            alone = tokenizer.encode(images[index : index + 1])
            assert tokens.strings(index) == alone.strings()
            assert tokens.places(index) == alone.places()


def test_every_token_is_explained_by_a_word_and_an_outline(members: list[ImageTokenizer]) -> None:
    image = torch.rand(3, 64, 96)
    for tokenizer in members:
        tokens = tokenizer.encode(image[None])
        explained = tokenizer.explain(image, tokens)
        assert len(explained.words) == len(tokens.outlines()) == len(tokens.places())
        assert explained.picture.shape[0] == 3
        plain = tokenizer.visible_part(image, tokens)
        assert explained.picture.shape[-1] / explained.picture.shape[-2] == plain.shape[-1] / plain.shape[-2]


def test_a_directory_gives_the_same_tokenizer_back_by_its_kind(
    members: list[ImageTokenizer], tmp_path: Path
) -> None:
    for tokenizer in members:
        tokenizer.facts = {"steps": 3}
        tokenizer.save_pretrained(tmp_path / tokenizer.NAME)
        again = load_tokenizer(tmp_path / tokenizer.NAME, device="cpu")
        assert type(again) is type(tokenizer)
        assert (again.facts, again.settings()) == ({"steps": 3}, tokenizer.settings())
        assert all(
            torch.equal(tensor, again.state_dict()[name]) for name, tensor in tokenizer.state_dict().items()
        )
        kind = member_named(tokenizer.NAME).kind
        assert read_manifest(tmp_path / tokenizer.NAME, kind, 1)["facts"] == {"steps": 3}
        assert (tmp_path / tokenizer.NAME / "README.md").read_text(encoding="utf-8").startswith("---\n")


def test_the_grid_keeps_its_old_kind_on_disk() -> None:
    assert member_named("v2l").kind == "tokenizer"
    assert load_tokenizer("v2l", device="cpu").settings() == load_tokenizer(device="cpu").settings()


def test_every_registered_class_has_its_registered_name() -> None:
    for name in tokenizer_names():
        member = member_named(name)
        assert name == member.load_class().NAME
        assert set(member.gives) <= NEEDS.keys()


def test_a_name_that_is_not_there_is_one_line_with_those_that_are() -> None:
    with pytest.raises(V2LError, match=rf"no tokenizer 'setk'; allowed: v2l.*{NAME}"):
        load_tokenizer("setk")


def test_a_name_without_a_checkpoint_says_so() -> None:
    with pytest.raises(V2LError, match="no checkpoint of the tokenizer 'tiny-quarters' ships"):
        load_tokenizer(NAME)


def test_a_directory_of_another_kind_is_refused(tmp_path: Path) -> None:
    tiny_pipeline().grid.local_codebook.save(tmp_path / "codebook")
    with pytest.raises(V2LError, match=r"kind 'codebook'; allowed: the directory of a tokenizer: v2l"):
        load_tokenizer(tmp_path / "codebook")


def test_what_a_member_cannot_do_is_refused_with_those_that_can() -> None:
    quarters = QuarterTokenizer()
    require_words(quarters, "v2l caption")
    for require, text in (
        (require_decoder, "v2l x needs a decoder, which the tokenizer 'tiny-quarters' does not have"),
        (require_grid_codes, "v2l x needs a grid of codes that are token ids of the LLM"),
    ):
        with pytest.raises(V2LError) as caught:
            require(quarters, "v2l x")
        assert text in str(caught.value)
        assert "allowed: v2l" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(V2LError, match=r"decode needs a decoder.*allowed: v2l"):
        quarters.decode(quarters.encode(torch.rand(1, 3, 8, 8)))


def test_a_row_of_the_registry_is_checked() -> None:
    with pytest.raises(V2LError, match="it gives 'pictures'"):
        register_tokenizer("other", "m:C", gives=("pictures",))
    with pytest.raises(V2LError, match="the kind 'tokenizer' belongs to the tokenizer 'v2l'"):
        register_tokenizer("other", "m:C", gives=("words",), kind="tokenizer")


def test_words_of_a_tokenizer_without_a_tagger_are_those_of_its_tokens() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., :4] = 1.0
    image[..., :4, :4] = 0.8
    tagged = QuarterTokenizer().image_words(image, count=8)
    assert [word.word for word in tagged.words[0]] == ["shoes", "hat"]
    assert tagged.vectors is None


def test_a_photograph_is_read_whole_at_its_own_scale_or_at_the_models() -> None:
    grid = tiny_pipeline().grid
    assert grid.whole_size(640, 640) == (64, 64)
    assert grid.whole_size(4000, 3000) == (72, 56)
    assert grid.whole_size(3, 5) == (48, 80)
    image = torch.rand(3, 30, 50)
    assert grid.encode_whole(image).layout == CellGrid(4, 7)
    assert grid.encode_whole(image, "model").layout == CellGrid(6, 10)

"""A photograph comes back at its own size, through its tokens and through their file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_pipeline import tiny_pipeline
from tiny_words_tokenizer import QuarterTokenizer

from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline
from v2l.pipeline.reconstruction import decode_photograph, encode_photograph, reconstruct_image
from v2l.token_file import TokenFile
from v2l.tokens import CellGrid


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    return torch.rand(3, 43, 70, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("scale", "cells"), [("own", (6, 9)), ("model", (6, 10))])
def test_a_photograph_comes_back_at_its_own_size(
    pipeline: Pipeline, photograph: torch.Tensor, scale: str, cells: tuple[int, int]
) -> None:
    result = reconstruct_image(pipeline.tokenizer, photograph, scale)
    assert result.image.shape == photograph.shape
    assert result.tokens.layout == CellGrid(*cells)
    local, named = pipeline.tokenizer.code_streams(result.tokens)
    assert result.bits == local.bits + named.bits


def test_the_own_scale_is_the_default_and_the_square_stays(
    pipeline: Pipeline, photograph: torch.Tensor
) -> None:
    assert reconstruct_image(pipeline.tokenizer, photograph).scale == "own"
    square = reconstruct_image(pipeline.tokenizer, photograph, square=True)
    assert square.image.shape == square.original.shape == (3, 64, 64)


@pytest.mark.parametrize("scale", ["own", "model"])
def test_a_token_file_decodes_to_what_the_tokens_decode_to(
    pipeline: Pipeline, photograph: torch.Tensor, scale: str, tmp_path: Path
) -> None:
    encode_photograph(pipeline.tokenizer, photograph, scale).write(tmp_path / "a.v2l")
    decoded = decode_photograph(pipeline.tokenizer, TokenFile.read(tmp_path / "a.v2l"))
    assert torch.equal(decoded, reconstruct_image(pipeline.tokenizer, photograph, scale).image)


def test_another_checkpoint_is_refused(pipeline: Pipeline, photograph: torch.Tensor) -> None:
    file = encode_photograph(pipeline.tokenizer, photograph)
    other = tiny_pipeline().tokenizer
    assert torch.equal(decode_photograph(other, file), decode_photograph(pipeline.tokenizer, file))
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    with pytest.raises(V2LError, match="the same checkpoint"):
        decode_photograph(other, file)


def test_a_size_that_does_not_fit_the_grid_is_refused(pipeline: Pipeline, photograph: torch.Tensor) -> None:
    file = encode_photograph(pipeline.tokenizer, photograph)
    crafted = TokenFile(file.tokenizer, file.fingerprint, (99, 70), file.scale, file.streams)
    with pytest.raises(V2LError, match="13 × 9 cells"):
        decode_photograph(pipeline.tokenizer, crafted)


def test_a_tokenizer_without_a_decoder_and_an_unknown_scale_are_refused(
    pipeline: Pipeline, photograph: torch.Tensor
) -> None:
    with pytest.raises(V2LError, match="a decoder"):
        encode_photograph(QuarterTokenizer(), photograph)
    with pytest.raises(V2LError, match="own, model"):
        encode_photograph(pipeline.tokenizer, photograph, "huge")

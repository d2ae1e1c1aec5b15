"""A word's embedding is the mean over templates, whatever the parts it was computed in, and lies on the
disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from v2l.codebook.embedding import WordEmbedder, embed_words
from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.shards import Shards

WORDS = ["hat", "red dress", "shoes", "{}", "犬", "a", "100%"]
TEMPLATES = ["a photo of a {}", "the {}", "{}."]


def plain_mean(encoder: JointEncoder) -> torch.Tensor:
    return torch.stack(
        [
            encoder.encode_texts([template.format(word) for template in TEMPLATES]).mean(dim=0)
            for word in WORDS
        ]
    )


def test_it_is_the_mean_over_templates_renormalised(encoder: JointEncoder) -> None:
    mean = plain_mean(encoder)
    expected = mean / torch.linalg.vector_norm(mean, dim=-1, keepdim=True)
    torch.testing.assert_close(WordEmbedder(encoder, TEMPLATES).embed(WORDS), expected, atol=1e-5, rtol=0)


def test_or_the_mean_as_it_is_shorter_than_one(encoder: JointEncoder) -> None:
    vectors = WordEmbedder(encoder, TEMPLATES, renormalize=False).embed(WORDS)
    torch.testing.assert_close(vectors, plain_mean(encoder), atol=1e-5, rtol=0)
    assert vectors.norm(dim=-1).max() < 1


def test_it_has_unit_length(encoder: JointEncoder, tmp_path: Path) -> None:
    vectors = embed_words(WordEmbedder(encoder, TEMPLATES), WORDS, Shards(tmp_path, "words"))
    assert vectors.shape == (len(WORDS), encoder.dim)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(WORDS)))


def test_parts_do_not_change_the_vectors(encoder: JointEncoder, tmp_path: Path) -> None:
    embedder = WordEmbedder(encoder, TEMPLATES)
    whole = embed_words(embedder, WORDS, Shards(tmp_path / "whole", "words"))
    parts = embed_words(embedder, WORDS, Shards(tmp_path / "parts", "words", size=2))
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)


def test_equal_words_are_embedded_once(encoder: JointEncoder, tmp_path: Path) -> None:
    reported: list[tuple[str, int, int]] = []
    shards = Shards(tmp_path, "words", lambda *event: reported.append(event), size=2)
    vectors = embed_words(WordEmbedder(encoder, TEMPLATES), ["hat", "shoes", "hat", "a", "shoes"], shards)
    torch.testing.assert_close(
        vectors,
        WordEmbedder(encoder, TEMPLATES).embed(["hat", "shoes", "hat", "a", "shoes"]),
        atol=1e-5,
        rtol=0,
    )
    assert reported == [("words", 2, 3), ("words", 3, 3)]


def test_it_can_be_rounded_to_half_precision(encoder: JointEncoder, tmp_path: Path) -> None:
    embedder, shards = WordEmbedder(encoder, TEMPLATES), Shards(tmp_path, "words", size=3)
    half = embed_words(embedder, WORDS, shards, torch.float16)
    assert torch.equal(half, embed_words(embedder, WORDS, shards).half())


def test_one_template_is_the_encoders_own_vector(encoder: JointEncoder) -> None:
    torch.testing.assert_close(
        WordEmbedder(encoder, ["{}"]).embed(WORDS), encoder.encode_texts(WORDS), atol=1e-5, rtol=0
    )


def test_other_templates_and_another_length_find_no_old_parts(encoder: JointEncoder, tmp_path: Path) -> None:
    shards = Shards(tmp_path, "words")
    embedders = [
        WordEmbedder(encoder, TEMPLATES[:2]),
        WordEmbedder(encoder, TEMPLATES[1:]),
        WordEmbedder(encoder, TEMPLATES[:2], False),
    ]
    one, other, plain = (embed_words(embedder, WORDS, shards) for embedder in embedders)
    assert (one - other).abs().max() > 1e-3
    assert (one - plain).abs().max() > 1e-3


def test_no_part_is_kept_in_memory(encoder: JointEncoder, tmp_path: Path) -> None:
    vectors = embed_words(WordEmbedder(encoder, ["{}"]), WORDS, Shards(tmp_path, "words", size=2))
    kept = [path for path in tmp_path.iterdir() if path.suffix != ".safetensors"]
    assert kept == []  # the joined file has no name
    assert vectors[1:3].sum().isfinite()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_encoder_that_gives_no_number_is_one_line_and_leaves_no_part(
    bad: float, encoder: JointEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(texts: list[str]) -> torch.Tensor:
        return torch.tensor([[bad if "shoes" in text else 1.0] * encoder.dim for text in texts])

    monkeypatch.setattr(encoder, "in_template", lambda template: encode)
    with pytest.raises(V2LError, match="gives NaN or infinity for 1 of 7 words, as 'shoes'; allowed: "):
        embed_words(WordEmbedder(encoder, TEMPLATES), WORDS, Shards(tmp_path, "words"))
    assert not list(tmp_path.iterdir())

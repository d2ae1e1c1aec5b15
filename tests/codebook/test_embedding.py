"""A word's embedding is the unit mean over templates, whatever the parts it was computed in."""

from __future__ import annotations

from pathlib import Path

import torch

from v2l.codebook.embedding import embed_words, mean_over_templates
from v2l.codebook.shards import Shards
from v2l.encoders import JointEncoder

WORDS = ["hat", "red dress", "shoes", "{}", "犬", "a", "100%"]
TEMPLATES = ["a photo of a {}", "the {}", "{}."]


def test_it_is_the_mean_over_templates_renormalised(encoder: JointEncoder) -> None:
    mean = torch.stack([encoder.encode_texts([template.format(word) for template in TEMPLATES]).mean(dim=0) for word in WORDS])
    expected = mean / torch.linalg.vector_norm(mean, dim=-1, keepdim=True)
    torch.testing.assert_close(mean_over_templates(encoder, WORDS, TEMPLATES), expected, atol=1e-5, rtol=0)


def test_it_has_unit_length(encoder: JointEncoder, tmp_path: Path) -> None:
    vectors = embed_words(encoder, WORDS, TEMPLATES, Shards(tmp_path, "words"))
    assert vectors.shape == (len(WORDS), encoder.dim)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(WORDS)))


def test_parts_do_not_change_the_vectors(encoder: JointEncoder, tmp_path: Path) -> None:
    whole = embed_words(encoder, WORDS, TEMPLATES, Shards(tmp_path / "whole", "words"))
    parts = embed_words(encoder, WORDS, TEMPLATES, Shards(tmp_path / "parts", "words", size=2))
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)


def test_one_template_is_the_encoders_own_vector(encoder: JointEncoder) -> None:
    torch.testing.assert_close(mean_over_templates(encoder, WORDS, ["{}"]), encoder.encode_texts(WORDS))


def test_other_templates_find_no_old_parts(encoder: JointEncoder, tmp_path: Path) -> None:
    shards = Shards(tmp_path, "words")
    one, other = embed_words(encoder, WORDS, TEMPLATES[:1], shards), embed_words(encoder, WORDS, TEMPLATES[1:], shards)
    assert (one - other).abs().max() > 1e-3

"""A tagger's encoder is where its inputs are, and its words do not convert the whole codebook each time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from tiny_pipeline import tiny_pipeline
from tiny_tokenizer import tiny_codebook
from torch.utils._python_dispatch import TorchDispatchMode

from v2l.tokenizers.word_tagger import WordTagger


def test_the_encoder_moves_with_its_tokenizer() -> None:
    tokenizer = tiny_pipeline().grid
    assert tokenizer.joint_encoder.device.type == "cpu"
    tokenizer.to("meta")
    assert tokenizer.joint_encoder.device == torch.device("meta")
    assert tokenizer.tagger is not None
    assert tokenizer.tagger.joint_encoder("cpu").device.type == "meta"  # a name counts at the first call only


class Conversions(TorchDispatchMode):
    """Notes how many numbers are converted inside it to another dtype or device."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._to_copy.default:
            self.numbers += args[0].numel()
        return func(*args, **(kwargs or {}))


def test_only_the_chosen_rows_are_converted() -> None:
    codebook = tiny_codebook(60, dim=8)
    tagger = WordTagger(replace(codebook, embeddings=codebook.embeddings.half()), "an encoder")
    vectors = codebook.embeddings[:1]
    first = tagger.select(vectors, 3, "together")
    with Conversions() as converted:
        scores, rows = tagger.select(vectors, 3, "together")
    assert converted.numbers == 3 * 8
    assert torch.equal(rows, first[1])
    expected = torch.cosine_similarity(vectors[:, None], tagger.codebook.embeddings.float()[rows], dim=-1)
    assert torch.equal(scores, expected)

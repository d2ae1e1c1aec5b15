"""A tagger's encoder is where its inputs are, also after the tokenizer has moved."""

from __future__ import annotations

import torch
from tiny_pipeline import tiny_pipeline


def test_the_encoder_moves_with_its_tokenizer() -> None:
    tokenizer = tiny_pipeline().grid
    assert tokenizer.joint_encoder.device.type == "cpu"
    tokenizer.to("meta")
    assert tokenizer.joint_encoder.device == torch.device("meta")
    assert tokenizer.tagger is not None
    assert tokenizer.tagger.joint_encoder("cpu").device.type == "meta"  # a name counts at the first call only

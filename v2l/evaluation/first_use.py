"""a tokenizer before its first use ──► the same with its encoders loaded: no image is timed with that."""

from __future__ import annotations

import torch

from v2l.tokenizers.contract import ImageTokenizer

SIDE = 64  # pixels of the grey square


@torch.inference_mode()
def first_use(tokenizer: ImageTokenizer) -> None:
    """Encode a grey square. Encoders are loaded at their first use, which takes seconds."""
    tokenizer.encode(torch.full((1, 3, SIDE, SIDE), 0.5))

"""a seed ──► a words tokenizer that is nothing like the V2L grid: bright quarters with boxes, no decoder, no
joint space.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from v2l.tokenizers.contract import ImageTokenizer, check_images
from v2l.tokenizers.registry import register_tokenizer
from v2l.tokens import Boxes, VisualTokens, Word

NAME = "tiny-quarters"
QUARTERS = torch.tensor([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]])


class QuarterTokenizer(ImageTokenizer):
    """One word for each quarter that is at least as bright as the image's mean: 1 to 4 tokens an image.

    Args:
        words: the four words, in raster order.
    """

    NAME = NAME
    offset: Tensor

    def __init__(self, words: tuple[str, ...] = ("hat", "dress", "shoes", "pants")) -> None:
        super().__init__()
        self.words = words
        self.register_buffer("offset", torch.zeros(4))

    def encode(self, images: Tensor) -> VisualTokens:
        check_images(images)
        bright = adaptive_avg_pool2d(images.mean(dim=1, keepdim=True), 2).flatten(1) + self.offset  # (B, 4)
        mask = bright >= bright.mean(dim=1, keepdim=True)
        words = tuple(
            tuple(
                Word(self.words[place], (), bright[image, place].item()) for place in range(4) if row[place]
            )
            for image, row in enumerate(mask.tolist())
        )
        batch = len(images)
        return VisualTokens(
            "words",
            torch.arange(4).expand(batch, 4),
            mask=mask,
            layout=Boxes(QUARTERS.expand(batch, 4, 4)),
            words=words,
        )

    def settings(self) -> dict[str, Any]:
        return {"words": list(self.words)}

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        return cls(tuple(manifest["words"]))


register_tokenizer(NAME, "tiny_words_tokenizer:QuarterTokenizer", gives=("words",))

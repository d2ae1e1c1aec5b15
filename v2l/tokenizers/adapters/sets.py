"""the images of a set ──► soft tokens of each, guided by the others: the tokenizer sam.

Source: SAM, arXiv 2408.12867. One image alone has soft tokens too, without guidance. Ours is the start: soft
tokens begin as the fitted maps of `fitted.py`, and the published network adds to them, from zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from v2l.tokenizers.adapters.fitted import FittedMaps, FittedTokenizer, start_at_zero
from v2l.tokenizers.adapters.guidance import Guidance, GuidedFormer
from v2l.tokenizers.adapters.model import AdapterSettings
from v2l.tokenizers.adapters.word_table import WordTable


class GuidedFields(FittedMaps):
    """Fitted maps of the fields of each image, and what SAM's network adds.

    Args:
        settings: sizes of the adapter.
    """

    def __init__(self, settings: AdapterSettings) -> None:
        super().__init__(settings)
        self.former = GuidedFormer(settings.channels, settings.width, settings.tokens, settings.heads)
        start_at_zero(self.former.output[-1])


class SetTokenizer(FittedTokenizer):
    """SAM's adapter.

    Args:
        settings: sizes and frozen models.
        table: words in the LLM's input-embedding space; None: soft tokens have no words.
        guidance: how the images of a set guide each other.
    """

    NAME = "sam"
    network: GuidedFields

    def __init__(
        self, settings: AdapterSettings, table: WordTable | None = None, guidance: Guidance | None = None
    ) -> None:
        super().__init__(settings, table)
        self.guide(guidance or Guidance())

    def guide(self, guidance: Guidance) -> None:
        """Change how the images of a set guide each other; no weight depends on it."""
        self.guidance = guidance
        self.network.former.guidance = guidance

    @staticmethod
    def network_of(settings: AdapterSettings) -> GuidedFields:
        return GuidedFields(settings)

    def forward(self, features: Tensor, together: bool = False) -> Tensor:
        """Patch features (n, h, w, C) ──► soft tokens (n, N, width); of one set if `together`."""
        features = features.to(self.device).float()
        return self.soft_tokens(features, self.network.former(features, together))

    @torch.inference_mode()
    def encode_set(self, images: Sequence[Tensor]) -> Tensor:
        """Images (3, H, W) in [0, 1] of any sizes, one set ──► soft tokens (n, N, width)."""
        soft: Tensor = self(self.set_features(images), together=True)
        return soft

    @torch.inference_mode()
    def set_features(self, images: Sequence[Tensor]) -> Tensor:
        """Images (3, H, W) in [0, 1] of any sizes ──► their patch features (n, h, w, C)."""
        squares = [self.joint_encoder.prepare(image) for image in images]
        return torch.stack([self.joint_encoder.patch_features(square[None])[0] for square in squares])

    def settings(self) -> dict[str, Any]:
        """Sizes, frozen models and guidance, for the manifest."""
        return {**super().settings(), "guidance": asdict(self.guidance)}

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        """The adapter of a manifest, before its weights are loaded."""
        settings, guidance = AdapterSettings.of_manifest(manifest), Guidance(**manifest["guidance"])
        return cls(settings, WordTable.load(folder), guidance)

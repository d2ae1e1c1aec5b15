"""image ⇄ a grid of learned codes: VQ-VAE and VQGAN, the baseline of V2L.

The networks are those of V2L without global words. The codebook is learned, so that codes have no words. With
an adversarial weight in the config it is a VQGAN, without one a VQ-VAE. Sources: VQ-VAE, arXiv 1711.00937;
VQGAN, arXiv 2012.09841.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from v2l.config import Config, config_from_dict, config_to_dict
from v2l.errors import V2LError
from v2l.tokenizers.cnn.autoencoder import GridAutoencoder
from v2l.tokenizers.contract import check_images
from v2l.tokens import CellGrid, VisualTokens


class VQGANTokenizer(GridAutoencoder):
    """Images ⇄ rows of a learned codebook, one for each cell of a grid.

    Args:
        config: sizes of the networks and of the codebook.

    Raises:
        V2LError: the config is not one of this tokenizer.
    """

    NAME = "vqgan"

    def __init__(self, config: Config) -> None:
        network = config.model
        if network.tokenizer != self.NAME:
            raise V2LError(
                f"got a config of the tokenizer {network.tokenizer!r}",
                "model.tokenizer: vqgan",
                "--config vqgan",
            )
        # The quantizer needs the number of codes alone, and there are no global words.
        super().__init__(config, torch.zeros(network.codes, 0), torch.zeros(0, 1))

    @torch.inference_mode()
    def encode(self, images: Tensor, crop: bool = True) -> VisualTokens:
        """Images (B, 3, H, W) in [0, 1] ──► codes, one for each f × f pixels.

        Args:
            images: float32.
            crop: True resizes and crops them to the config's square. False needs multiples of f.

        Raises:
            V2LError: the images have another shape or dtype.
        """
        check_images(images)
        rows = self.encode_rows(self.square(images, self.network.image_size) if crop else images).cpu()
        return VisualTokens("codes", rows.flatten(1), layout=CellGrid(*rows.shape[1:]))

    @torch.inference_mode()
    def encode_whole(self, image: Tensor, scale: str | None = None) -> VisualTokens:
        """Encode a whole photograph (3, H, W), not cropped, at one of `SCALES`; B = 1."""
        return self.encode(self.at_scale(image, scale), crop=False)

    @torch.inference_mode()
    def decode(self, tokens: VisualTokens) -> Tensor:
        """Codes ──► images (B, 3, h · f, w · f) float32 in [0, 1].

        Raises:
            V2LError: the tokens have no grid, or a code is not in the codebook.
        """
        if tokens.ids is None or not isinstance(tokens.layout, CellGrid):
            raise V2LError(
                f"got {tokens.kind} without a grid", "what encode gave", "tokenizer.encode(images)"
            )
        if tokens.ids.min() < 0 or tokens.ids.max() >= self.codebook_size:
            raise V2LError("a code lies outside the codebook", f"0 to {self.codebook_size - 1}")
        return self.decode_rows(tokens.ids.view(-1, tokens.layout.rows, tokens.layout.columns), None)

    @property
    def codebook_size(self) -> int:
        """V, the number of learned codes."""
        return self.quantizer.codebook_size

    @property
    def codes_description(self) -> str:
        return f"{self.codebook_size:,} learned codes"

    def settings(self) -> dict[str, Any]:
        """The config."""
        return {"config": config_to_dict(self.config)}

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        """The tokenizer with the config of a manifest, with random weights."""
        return cls(config_from_dict(manifest["config"], str(folder)))

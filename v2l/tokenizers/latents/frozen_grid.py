"""the grid tokenizer that ships ──► features and pixels: the frozen proxy and the frozen pixel decoder.

A checkpoint of latents names it and its fingerprint, and holds no copy of it.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from v2l.codebook.codebook import Codebook
from v2l.errors import V2LError
from v2l.tokenizers.cnn.autoencoder import GridAutoencoder
from v2l.tokenizers.cnn.encoder import to_network_range
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.registry import DEFAULT


class FrozenGrid:
    """A grid tokenizer whose weights do not change.

    Not a module: nothing of it is saved with the weights of the latents.

    Args:
        tokenizer: of words, with a decoder.
        words: its local codebook; None if its codes have no words.
    """

    def __init__(self, tokenizer: GridAutoencoder, words: Codebook | None) -> None:
        self.tokenizer, self.words = tokenizer.eval().requires_grad_(False), words

    @classmethod
    def shipped(cls, fingerprint: str | None = None) -> FrozenGrid:
        """The grid tokenizer that ships.

        Args:
            fingerprint: of the one that is needed; None takes any.

        Raises:
            V2LError: another one ships.
        """
        grid = cls.of(load_tokenizer(DEFAULT, "cpu"))
        if fingerprint is not None and grid.fingerprint != fingerprint:
            raise V2LError(
                f"this checkpoint decodes by the grid tokenizer {fingerprint}, and the one that ships is "
                f"{grid.fingerprint}",
                "the version of v2l that the checkpoint was trained with",
                "v2l train-titok",
            )
        return grid

    @classmethod
    def of(cls, tokenizer: ImageTokenizer) -> FrozenGrid:
        """A grid tokenizer that is loaded.

        Raises:
            V2LError: it is of another kind.
        """
        if not isinstance(tokenizer, GridAutoencoder):
            raise V2LError(f"got the tokenizer {tokenizer.NAME!r}", "one with a grid of codes and a decoder")
        words = getattr(tokenizer, "local_codebook", None)
        return cls(tokenizer, words if isinstance(words, Codebook) else None)

    @cached_property
    def fingerprint(self) -> str:
        """Of weights and words."""
        return self.tokenizer.fingerprint

    @property
    def channels(self) -> int:
        """d, width of a feature."""
        return self.tokenizer.network.lookup_dim

    @property
    def factor(self) -> int:
        """f, pixels a side of a cell."""
        return self.tokenizer.factor

    def on(self, device: torch.device) -> GridAutoencoder:
        """The tokenizer on a device."""
        return self.tokenizer if self.tokenizer.device == device else self.tokenizer.to(device)

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] ──► features before the lookup (B, d, h, w)."""
        return self.on(images.device).features(to_network_range(images))

    def entries(self, device: torch.device) -> Tensor:
        """What the features are looked up in, (V, d)."""
        return self.on(device).quantizer.entries()

    def paint(self, features: Tensor) -> Tensor:
        """Features (B, d, h, w) ──► images (B, 3, H, W) about [-1, 1], not clamped, with gradient.

        The decoder reads global words; it gets the mean of all of them, because latents name none.
        """
        return self.on(features.device).paint(features, self._context(features))

    def _context(self, features: Tensor) -> Tensor | None:
        grid = self.on(features.device)
        if not grid.network.cross_attention:
            return None
        return grid.global_rows.mean(dim=0).expand(len(features), 1, -1)

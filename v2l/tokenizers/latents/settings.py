"""settings ⇄ YAML: sizes and training of the latent tokenizer, with a text and a range beside every field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from v2l.config import load_sections
from v2l.errors import V2LError
from v2l.sections import choice, described, ranged

GRID, MASKGIT = "grid", "maskgit"


@dataclass(frozen=True)
class LatentSettings:
    """The networks. The defaults are those of TiTok-L-32, where it gives any."""

    image_size: int = ranged(256, 16, 4096, "Side of the square that images are resized to, in pixels.")
    patch: int = ranged(16, 2, 256, "Side of a patch in pixels, in both transformers.")
    reads: str = choice(
        "pixels",
        ("pixels", "features"),
        "What the encoder reads of a patch: its pixels, or the grid tokenizer's features before the lookup.",
    )
    lengths: tuple[int, ...] = described(
        (32,), "Numbers of latents that an image can be decoded from, ascending; the last one is all."
    )
    width: int = ranged(1024, 8, 8192, "Channels of both transformers.")
    encoder_layers: int = ranged(
        24, 0, 100, "Layers of the encoder; 0: the linear code alone encodes, without a network."
    )
    decoder_layers: int = ranged(24, 1, 100, "Layers of the decoder.")
    heads: int = ranged(16, 1, 64, "Heads of every attention.")
    code_width: int = ranged(12, 2, 4096, "Width in which the nearest entry is looked up.")
    codebook: str = choice(
        "learned",
        ("learned", "words"),
        "learned: unit vectors, as published; words: the local words of the grid tokenizer, frozen.",
    )
    codes: int = ranged(4096, 2, 10**6, "Entries of a learned codebook.")
    linear_path: bool = described(
        False,
        "Whether a linear code of the grid's features, fitted before training, runs beside the networks, and "
        "the decoder starts from what it decodes.",
    )
    pixel_decoder: str = choice(
        GRID,
        (GRID, MASKGIT),
        "grid: the decoder of the grid tokenizer that ships, which is frozen; maskgit: one of its own, as "
        "released.",
    )
    proxy_codes: int = ranged(1024, 2, 10**6, "maskgit: codes of the proxy that the decoder predicts.")
    proxy_width: int = ranged(256, 2, 4096, "maskgit: width of the proxy's codes.")
    pixel_channels: int = ranged(128, 32, 1024, "maskgit: channels of the pixel decoder's finest level.")
    pixel_levels: tuple[int, ...] = described(
        (1, 1, 2, 2, 4), "maskgit: channels of each level, finest first, as multiples of pixel_channels."
    )

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise V2LError(f"got width {self.width} with {self.heads} heads", "a multiple of the heads")
        if self.image_size % self.patch:
            raise V2LError(
                f"got image_size {self.image_size} with patches of {self.patch}", "a multiple of the patch"
            )
        if not self.lengths or list(self.lengths) != sorted({max(1, length) for length in self.lengths}):
            raise V2LError(f"got lengths = {list(self.lengths)}", "ascending numbers from 1 up", "[32]")
        if self.pixel_decoder == MASKGIT and (self.reads, self.codebook) != ("pixels", "learned"):
            raise V2LError(
                f"got pixel_decoder = {MASKGIT} with codebook = {self.codebook} and reads = {self.reads}",
                "codebook: learned, reads: pixels",
            )
        if self.linear_path and (self.reads, self.codebook) != ("features", "words"):
            raise V2LError(
                f"got linear_path with reads = {self.reads} and codebook = {self.codebook}",
                "reads: features, codebook: words",
            )
        if not self.encoder_layers and not self.linear_path:
            raise V2LError("got no encoder: encoder_layers = 0", "1 and more, or linear_path: true")

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.image_size // self.patch

    @property
    def latents(self) -> int:
        """L, the number of all latents."""
        return self.lengths[-1]

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """(first, end) of the latents that each length adds to the one before it."""
        return tuple(zip((0, *self.lengths), self.lengths, strict=False))


@dataclass(frozen=True)
class LatentTraining:
    """How the latent tokenizer is trained. The defaults are the paper's, where it gives any."""

    steps: int = ranged(1_500_000, 1, 10**9, "Optimizer steps of both stages.")
    pixel_start: float = ranged(
        2 / 3,
        0,
        1,
        "Share of the steps of stage one; stage two trains the decoder on pixels, the rest frozen.",
    )
    target: str = choice(
        "features",
        ("features", "codes"),
        "What stage one predicts of the grid tokenizer: its features before the lookup, or its codes.",
    )
    batch_size: int = ranged(32, 1, 10**5, "Images a step and a process.")
    learning_rate: float = ranged(1e-4, 0, 1, "Peak learning rate of AdamW.")
    pixel_rate: float = ranged(1.0, 0, 1000, "Learning rate of stage two, relative to stage one.")
    warmup_fraction: float = ranged(0.01, 0, 1, "Share of stage one in which the rate rises.")
    weight_decay: float = ranged(1e-4, 0, 1, "Of AdamW.")
    commitment_weight: float = ranged(0.25, 0, 1000, "Weight of the pull of latents to their entry.")
    codebook_weight: float = ranged(1.0, 0, 1000, "Weight of the pull of learned entries to their latents.")
    perceptual: str = choice(
        "lpips-vgg",
        ("lpips-vgg", "lpips-alex", "lpips-squeeze", "efficientnet-lite0", "none"),
        "Perceptual network of stage two.",
    )
    perceptual_weight: float = ranged(0.1, 0, 1000, "Weight of the perceptual distance in stage two.")
    adversarial_weight: float = ranged(0.01, 0, 1000, "Weight of the adversarial term; 0 is off.")
    adversarial_start: float = ranged(0.04, 0, 1, "Share of stage two before the adversarial term.")
    lecam_weight: float = ranged(0.001, 0, 1000, "Weight of LeCam's penalty of the discriminator.")
    ema_decay: float = ranged(0.999, 0, 1, "Decay of the moving average of the weights; 0 is off.")
    save_every: int = ranged(1000, 1, 10**9, "Steps between saved states.")
    log_every: int = ranged(50, 1, 10**9, "Steps between lines of the log.")
    validate_every: int = ranged(1000, 0, 10**9, "Steps between validations; 0 is off.")
    picture_every: int = ranged(1000, 0, 10**9, "Steps between pages of reconstructions; 0 is off.")


@dataclass(frozen=True)
class LatentConfig:
    """Both parts, as a preset of configs/titok holds them."""

    network: LatentSettings = field(default_factory=LatentSettings)
    training: LatentTraining = field(default_factory=LatentTraining)

    @classmethod
    def load(cls, source: str | Path = "small") -> Self:
        """Read a preset or a YAML file.

        Raises:
            V2LError: no such file, an unknown key, or a value of the wrong type or out of its range.
        """
        kinds = {"network": LatentSettings, "training": LatentTraining}
        return cls(**load_sections(kinds, "titok", source))

"""settings ⇄ YAML: sizes and training of the selection, with a text and a range beside every field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from v2l.config import load_sections
from v2l.errors import V2LError
from v2l.sections import choice, described, ranged
from v2l.tokenizers.member_training import MemberTraining


@dataclass(frozen=True)
class SelectionSettings:
    """The network. The defaults are the paper's, where it gives any."""

    side: int = ranged(224, 8, 4096, "Pixels of the shorter side that the image encoder sees.")
    width: int = ranged(1408, 8, 8192, "Channels of merger and decoder.")
    merger_blocks: int = ranged(12, 1, 100, "Blocks of the merger.")
    decoder_blocks: int = ranged(12, 1, 100, "Blocks of the decoder, which rebuilds the frozen features.")
    heads: int = ranged(16, 1, 64, "Heads of every attention.")
    mlp_ratio: float = ranged(4.36, 0.5, 8, "Hidden width of the blocks' MLPs, relative to their width.")
    keep_ratio: float = ranged(1 / 3, 0.01, 1, "Share of the patches that training aims to keep.")
    codebook: str = choice("words", ("words", "learned"), "words: of the LLM; learned: as published.")
    learned_size: int = ranged(16384, 2, 10**6, "Entries of a learned codebook.")
    learned_width: int = ranged(32, 2, 4096, "Width of a learned codebook.")
    words_used: int = ranged(4096, 2, 10**6, "Words, those that training patches are nearest to most often.")
    draft: bool = described(
        False, "Words have prototypes, and the decoder starts from a fitted draft; as published, no."
    )
    chooses: str = choice(
        "selector", ("selector", "draft"), "Who keeps patches: the trained selector; or what helps the draft."
    )
    naming: float = ranged(1.0, 0, 100, "With a draft: weight of a word's meaning beside its prototype.")

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise V2LError(f"got width {self.width} with {self.heads} heads", "a multiple of the heads")
        if self.chooses == "draft" and not self.draft:
            raise V2LError("got chooses: draft without a draft", "draft: true, or chooses: selector")
        if self.draft and self.codebook != "words":
            raise V2LError("got a draft with a learned codebook", "a draft with the codebook words")


@dataclass(frozen=True)
class SelectionTraining(MemberTraining):
    """How the selection is trained."""

    ratio_weight: float = ranged(2.0, 0, 1000, "Weight of the squared error of the share that is kept.")
    word_weight: float = ranged(0.5, 0, 1000, "Weight of the pull of a token to the vector of its patch.")
    temperature: float = ranged(1.0, 0.01, 100, "Of the Gumbel softmax.")
    quantizer_start: float = ranged(0.25, 0, 1, "Share of the steps before tokens are quantized.")
    varied_ratio: float = ranged(0.0, 0, 1, "Share of the images that keep random patches.")


@dataclass(frozen=True)
class SelectionConfig:
    """Both parts, as a preset of configs/lavit holds them."""

    network: SelectionSettings = field(default_factory=SelectionSettings)
    training: SelectionTraining = field(default_factory=SelectionTraining)

    @classmethod
    def load(cls, source: str | Path = "small") -> Self:
        """Read a preset or a YAML file.

        Raises:
            V2LError: no such file, an unknown key, or a value of the wrong type or out of its range.
        """
        kinds = {"network": SelectionSettings, "training": SelectionTraining}
        return cls(**load_sections(kinds, "lavit", source))

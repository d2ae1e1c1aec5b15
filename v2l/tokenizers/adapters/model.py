"""image ──► patch features of a frozen joint encoder ──► soft tokens that a frozen LLM reads.

Trained is the network between the two. The LLM is not loaded here: an adapter carries the name and the
fingerprint of the LLM that it writes for. Sources: Qwen-VL, arXiv 2308.12966; SEA, arXiv 2408.11813.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isqrt
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from v2l.encoders import JointEncoder, load_encoder
from v2l.encoders.base import fingerprint_of
from v2l.errors import V2LError
from v2l.tokenizers.adapters.word_table import WordTable, no_words
from v2l.tokenizers.contract import ImageTokenizer, LLMVocabulary, check_images
from v2l.tokens import CellGrid, ClusterMap, VisualTokens

HEAD_WIDTH = 64  # channels of one attention head, about


@dataclass(frozen=True)
class AdapterSettings:
    """Sizes of an adapter, and the frozen models on its two sides.

    Attributes:
        dim: D, width of the encoder's joint space.
        channels: C, width of its patch features.
        width: of the LLM's input embeddings.
        tokens: N, soft tokens an image; a square number.
        words: W, words of the codebook; the fitted maps carry the embeddings of all of them.
        scale: the network's output is multiplied by this: the size of the LLM's own input embeddings.
        encoder: name of the joint encoder.
        encoder_fingerprint: hash of its weights.
        llm: name of the LLM.
        llm_fingerprint: hash of its vocabulary.
    """

    dim: int
    channels: int
    width: int
    tokens: int
    words: int
    scale: float
    encoder: str
    encoder_fingerprint: str
    llm: str
    llm_fingerprint: str

    def __post_init__(self) -> None:
        check_tokens(self.tokens)
        if self.width % 4:
            raise V2LError(f"got the width {self.width}", "a multiple of 4", "another --llm")

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> Self:
        """The settings that `SoftTokenizer.settings` wrote.

        Raises:
            V2LError: another version of v2l wrote them.
        """
        saved, names = manifest["adapter"], {field.name for field in fields(cls)}
        if saved.keys() != names:
            other = ", ".join(sorted(saved.keys() ^ names))
            raise V2LError(
                f"the adapter's settings differ in: {other}",
                "an adapter of this version",
                "v2l train-adapter",
            )
        return cls(**saved)

    @property
    def heads(self) -> int:
        """As many heads of at least `HEAD_WIDTH` channels as divide the width."""
        return max(
            heads for heads in range(1, 1 + max(1, self.width // HEAD_WIDTH)) if self.width % heads == 0
        )


def check_tokens(tokens: int) -> int:
    """The number of soft tokens itself.

    Raises:
        V2LError: it is no square number.
    """
    if tokens < 1 or isqrt(tokens) ** 2 != tokens:
        raise V2LError(f"got {tokens} soft tokens", "a square number: 1, 4, 9, 16, 64, 256", "--tokens 16")
    return tokens


class SoftTokenizer(ImageTokenizer):
    """Images ──► N soft tokens each, with the word of a table that is nearest to each.

    Args:
        settings: sizes and frozen models.
        table: words in the LLM's input-embedding space; None: soft tokens have no words.
    """

    def __init__(self, settings: AdapterSettings, table: WordTable | None = None) -> None:
        super().__init__()
        self.adapter = settings
        self.table = table or no_words(settings.width)
        self.network = self.network_of(settings)
        self._encoder: tuple[JointEncoder, ...] = ()  # in a tuple, so that its weights are not the adapter's

    @staticmethod
    @abstractmethod
    def network_of(settings: AdapterSettings) -> nn.Module:
        """The network of these sizes, before any fit or training."""

    def layout_of(self, features: Tensor) -> CellGrid | ClusterMap | None:
        """What the soft tokens of patch features (B, h, w, C) cover; None if each covers the whole image."""
        return None

    @property
    def vocabulary(self) -> LLMVocabulary:
        """The LLM that reads the soft tokens."""
        return LLMVocabulary(self.adapter.llm, self.adapter.llm_fingerprint)

    @property
    def fingerprint(self) -> str:
        """Hash of weights, settings and the words of the table."""
        settings, words = repr(sorted(self.describe().items())), repr(self.table.words)
        return fingerprint_of({**self.state_dict(), "table": self.table.vectors}, settings, words)

    @property
    def joint_encoder(self) -> JointEncoder:
        """The frozen encoder of the patch features, loaded at the first use, on the adapter's device.

        Raises:
            V2LError: it is not on this machine, or is not the one that the adapter was trained with.
        """
        if not self._encoder:
            self.use_joint_encoder(load_encoder(self.adapter.encoder, str(self.device)))
        encoder = self._encoder[0]
        return encoder if encoder.device == self.device else encoder.to(self.device)

    def use_joint_encoder(self, encoder: JointEncoder) -> None:
        """Take an encoder that is loaded already.

        Raises:
            V2LError: it is not the one that the adapter was trained with.
        """
        if encoder.fingerprint != self.adapter.encoder_fingerprint:
            raise V2LError(
                f"the encoder {encoder.name} has fingerprint {encoder.fingerprint}",
                f"{self.adapter.encoder} with fingerprint {self.adapter.encoder_fingerprint}, "
                "which the adapter was trained with",
                "v2l train-adapter with this encoder",
            )
        self._encoder = (encoder,)

    def forward(self, features: Tensor) -> Tensor:
        """Patch features (B, h, w, C) ──► soft tokens (B, N, width), with gradients to the network."""
        soft: Tensor = self.network(features.to(self.device).float()) * self.adapter.scale
        return soft

    def encode(self, images: Tensor) -> VisualTokens:
        """(B, 3, H, W) in [0, 1], any size ──► embeddings (B, N, width), with gradients to the network."""
        check_images(images)
        features = self.joint_encoder.patch_features(images).clone()  # a clone can carry gradients
        soft = self(features)
        words = tuple(tuple(self.table.nearest(one)) for one in soft.detach()) if self.table.words else ()
        return VisualTokens("embeddings", embeddings=soft, layout=self.layout_of(features), words=words)

    def visible_part(self, image: Tensor, tokens: VisualTokens) -> Tensor:
        """The square of an image (3, H, W) that the encoder sees."""
        return self.joint_encoder.prepare(image)

    def image_view(self, image: Tensor) -> Tensor:
        """The same: soft tokens come from this square alone."""
        return self.joint_encoder.prepare(image)

    def describe(self) -> dict[str, str]:
        """Names and fingerprints of the adapter and of the encoder in front of it."""
        return {
            **super().describe(),
            "encoder": self.adapter.encoder,
            "encoder_fingerprint": self.adapter.encoder_fingerprint,
            "soft_tokens": str(self.adapter.tokens),
            **self._prompts(),
        }

    def _prompts(self) -> dict[str, str]:
        """The hash of the prompts that it was trained with, empty if older; nothing before training."""
        return {"prompts": str(self.facts.get("prompts", ""))} if self.facts else {}

    def settings(self) -> dict[str, Any]:
        """Sizes and frozen models, for the manifest."""
        return {"adapter": asdict(self.adapter)}

    def save_parts(self, folder: Path) -> None:
        """Write the word table."""
        self.table.save(folder)

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        """The adapter of a manifest, before its weights are loaded."""
        return cls(AdapterSettings.of_manifest(manifest), WordTable.load(folder))

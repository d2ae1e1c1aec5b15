"""image ⇄ tokens: the parts of the V2L Tokenizer joined.

image ──► CNN ──► local tokens; image ──► frozen joint encoder ──► global tokens; both ──► decoder ──► image. The LLM is never seen
here: its vocabulary has become the codebooks. Source: V2L Tokenizer, arXiv 2403.07874, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.codebook.codebook import Codebook
from v2l.config import Config, config_from_dict, config_to_dict
from v2l.device import choose_device
from v2l.encoders import JointEncoder, load_encoder
from v2l.errors import V2LError
from v2l.images import resize_and_crop, resize_in_two_steps
from v2l.tokenizers.grid.decoder import Decoder
from v2l.tokenizers.grid.encoder import (
    IMAGE_CHANNELS,
    Encoder,
    downsampling_factor,
    to_image_range,
    to_network_range,
)
from v2l.tokenizers.grid.model_card import model_card
from v2l.tokenizers.grid.patch_transform import PatchTransform
from v2l.tokenizers.quantizers.base import Quantized
from v2l.tokenizers.quantizers.frozen_words import build_quantizer
from v2l.tokens import ImageTokens, Word
from v2l.zoo import hub_folder, upload_folder

KIND, SCHEMA = "tokenizer", 1
SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "small"


class Reconstruction(NamedTuple):
    """What one forward pass gives."""

    images: Tensor  # (B, 3, H, W) about [-1, 1], not clamped
    quantized: Quantized | None  # None while the quantizer is off


class V2LTokenizer(nn.Module):
    """Images ⇄ words of a frozen LLM's vocabulary.

    Args:
        config: sizes of the network, and the names of the frozen models.
        local_codebook: single tokens; what cells become.
        global_codebook: subwords, bigrams and trigrams; what whole images become.

    Raises:
        V2LError: the two codebooks come from different models.

    Example:
        >>> import v2l
        >>> model = v2l.V2LTokenizer.from_pretrained()
        >>> tokens = model.encode(v2l.load_image("data/samples/shoes/boots.jpg")[None])
        >>> tokens.local_ids.shape, model.decode(tokens).shape
        (torch.Size([1, 16, 16]), torch.Size([1, 3, 128, 128]))
    """

    def __init__(self, config: Config, local_codebook: Codebook, global_codebook: Codebook) -> None:
        super().__init__()
        if local_codebook.source != global_codebook.source:
            raise V2LError(
                f"the local codebook comes from {local_codebook.source} and the global one from {global_codebook.source}",
                "two codebooks of one build",
                "v2l build-codebook",
            )
        network = config.model
        self.config, self.local_codebook, self.global_codebook = config, local_codebook, global_codebook
        self.facts: dict[str, Any] = {}
        self.encoder = Encoder(network)
        self.quant_conv = nn.Conv2d(network.z_channels, network.lookup_dim, kernel_size=1)
        self.quantizer = build_quantizer(network, config.training, local_codebook.embeddings)
        self.post_quant_conv = nn.Conv2d(network.lookup_dim, network.z_channels, kernel_size=1)
        self.decoder = Decoder(network, global_codebook.embeddings.shape[1])
        self.linear = self._linear_path() if network.linear_path else None
        self.register_buffer("global_rows", global_codebook.embeddings.float(), persistent=False)  # (V, D)
        self._joint_encoder: list[JointEncoder] = []  # in a list: frozen, not one of this module's weights

    @property
    def factor(self) -> int:
        """f: pixels a side of one cell."""
        return downsampling_factor(self.config.model)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.global_rows.device

    @property
    def joint_encoder(self) -> JointEncoder:
        """The frozen joint encoder, loaded when it is first needed.

        Raises:
            V2LError: it is not on this machine, or is not the one that embedded the codebooks.
        """
        if not self._joint_encoder:
            self.use_joint_encoder(load_encoder(self.config.models.encoder, str(self.device)))
        return self._joint_encoder[0]

    def use_joint_encoder(self, encoder: JointEncoder) -> None:
        """Take a joint encoder that is loaded already.

        Raises:
            V2LError: it is not the one that embedded the codebooks.
        """
        self.global_codebook.require_encoder(encoder)
        self._joint_encoder = [encoder]

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] ──► (B, d, h, w) before the lookup, of unit length if the config says so."""
        features = self.quant_conv(self.encoder(images))
        if self.linear is not None:
            features = features + self.linear.encode(images)
        return (
            functional.normalize(features.float(), dim=1, eps=1e-6)
            if self.config.model.normalize_features
            else features
        )

    def paint(self, entries: Tensor, context: Tensor | None) -> Tensor:
        """Projected entries (B, d, h, w) and global rows (B, G, D) ──► (B, 3, H, W), about [-1, 1]."""
        painted = self.decoder(self.post_quant_conv(entries), context)
        return painted if self.linear is None else painted + self.linear.decode(entries)

    def context(self, global_ids: Tensor) -> Tensor:
        """(B, G) int64 ──► (B, G, D): the global codebook's rows, which the decoder reads."""
        return self.global_rows[global_ids]

    def forward(self, images: Tensor, global_ids: Tensor, noise: float | None = None) -> Reconstruction:
        """One pass of training.

        Args:
            images: (B, 3, H, W) in [-1, 1], H and W multiples of f.
            global_ids: (B, G) int64.
            noise: None quantizes; a number leaves the quantizer out and adds noise of that standard deviation instead.
        """
        features, context = self.features(images), self.context(global_ids)
        if noise is not None:
            return Reconstruction(self.paint(features + noise * torch.randn_like(features), context), None)
        quantized = self.quantizer(features)
        return Reconstruction(self.paint(quantized.quantized, context), quantized)

    @torch.inference_mode()
    def global_tokens(self, images: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The global words of images of any one size.

        Args:
            images: (B, 3, H, W) in [0, 1].
            count: words an image; the config's number when None.

        Returns:
            scores (B, G) float32 and rows (B, G) int64, nearest first.
        """
        return self.nearest_words(self.joint_encoder.encode_images(images), count)

    def nearest_words(self, vectors: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The global words of images whose vectors are known, in the config's ranking.

        Args:
            vectors: (B, D) of unit length.
            count: words an image; the config's number when None.

        Returns:
            as `global_tokens`.

        Raises:
            V2LError: the codebook has fewer words.
        """
        codebook, count = self.global_codebook, count or self.config.model.global_tokens
        by_distance = self.config.model.word_ranking == "euclidean"
        return (
            codebook.nearest_by_distance(vectors, count)
            if by_distance
            else codebook.nearest_distinct(vectors, count)
        )

    @torch.inference_mode()
    def square(self, images: Tensor, size: int | None = None) -> Tensor:
        """(B, 3, H, W) in [0, 1] ──► (B, 3, S, S): the square that becomes local tokens, made as the config says; S is its size too."""
        size = size or self.config.model.image_size
        if self.config.model.resize == "two-step":
            return resize_in_two_steps(images, size)
        return resize_and_crop(images, size)

    @torch.inference_mode()
    def encode(self, images: Tensor, crop: bool = True) -> ImageTokens:
        """Images ──► tokens.

        Args:
            images: (B, 3, H, W) float32 in [0, 1]; global words come from them as they are.
            crop: resize and crop to the config's square for the local tokens; otherwise H and W are multiples of f and every
                f × f pixels become a token.

        Raises:
            V2LError: the shape is not allowed.
        """
        self._check(images)
        scores, rows = self.global_tokens(images)
        local_ids = self.encode_local(self.square(images) if crop else images)
        return ImageTokens(rows, local_ids, self._words(scores, rows))

    @torch.inference_mode()
    def encode_local(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], H and W multiples of f ──► (B, h, w) int64 token ids of the LLM.

        Raises:
            V2LError: H or W is no multiple of f.
        """
        height, width = images.shape[-2:]
        if height % self.factor or width % self.factor:
            raise V2LError(
                f"got images of {width} × {height} pixels",
                f"sides that are multiples of {self.factor}",
                "model.encode(images, crop=True)",
            )
        features = self.features(to_network_range(images.to(self.device)))
        return self.local_codebook.token_ids.to(self.device)[self.quantizer(features).indices]

    @torch.inference_mode()
    def decode(self, tokens: ImageTokens) -> Tensor:
        """Tokens ──► images (B, 3, h · f, w · f) float32 in [0, 1].

        Raises:
            V2LError: a local id is no word of the local codebook, or a global id no row of the global one.
        """
        entries = self.quantizer.lookup(self._rows(tokens.local_ids))
        if tokens.global_ids.min() < 0 or tokens.global_ids.max() >= len(self.global_codebook):
            raise V2LError(
                "a global id lies outside the global codebook",
                f"0 to {len(self.global_codebook) - 1}",
                "model.encode(image)",
            )
        return to_image_range(self.paint(entries, self.context(tokens.global_ids.to(self.device))))

    def save_pretrained(
        self, target: str | Path, half: bool = False, beside: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> None:
        """Write weights, config, both codebooks and a model card as one directory.

        Args:
            target: a new directory, or an older checkpoint to replace.
            half: store the weights in float16, half the size.
            beside: other networks by name, for further training (a discriminator); they are not read again by `from_pretrained`.

        Raises:
            V2LError: the place cannot be written; an older checkpoint there stays as it was.
        """
        weights = {name: tensor.half() if half else tensor for name, tensor in self.state_dict().items()}
        with write_directory(target) as folder:
            for name, tensors in {"model": weights, **(beside or {})}.items():
                save_tensors(folder / f"{name}.safetensors", tensors)
            self.local_codebook.save(folder / "local")
            self.global_codebook.save(folder / "global")
            described = {
                "config": config_to_dict(self.config),
                "facts": self.facts,
                "source": vars(self.local_codebook.source),
            }
            write_manifest(folder, {"kind": KIND, "schema": SCHEMA, **described})
            (folder / "README.md").write_text(
                model_card(self), encoding="utf-8"
            )  # after the manifest: people may edit it

    def push_to_hub(self, name: str, private: bool = False, half: bool = False) -> str:
        """Write the directory of `save_pretrained` to the hub, from where `from_pretrained(name)` reads it; returns its address.

        Args:
            name: `user/model` on the hub; it is made when it is not there.
            private: whether a new one is hidden from others.
            half: as in `save_pretrained`.

        Raises:
            V2LError: v2l is offline, or the hub refuses.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / "model", half)
            return upload_folder(Path(folder) / "model", name, private)

    @classmethod
    def from_pretrained(cls, name: str | Path | None = None, device: str = "auto") -> Self:
        """Read what `save_pretrained` wrote.

        Args:
            name: a directory, or a model of the hub; None is the checkpoint that ships with v2l.
            device: as in `v2l.device.choose_device`.

        Raises:
            V2LError: no such checkpoint, or it is damaged, or its weights do not fit its config.
        """
        folder = SHIPPED if name is None else hub_folder(str(name), what="checkpoint")
        manifest = read_manifest(folder, KIND, SCHEMA)
        model = cls(
            config_from_dict(manifest["config"], str(folder)),
            Codebook.load(folder / "local"),
            Codebook.load(folder / "global"),
        )
        model.facts = manifest["facts"]
        load_strictly(model, load_tensors(folder / "model.safetensors"), folder)
        return model.to(choose_device(device)).eval()

    def describe(self) -> dict[str, str]:
        """Names and fingerprints of what made its tokens, for reports."""
        source = self.local_codebook.source
        return {
            "encoder": source.encoder,
            "encoder_fingerprint": source.encoder_fingerprint,
            "variant": self.config.model.variant,
        }

    def _linear_path(self) -> PatchTransform:
        """The linear code, beside CNNs that add nothing to it yet."""
        for layer in (self.quant_conv, self.decoder.conv_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        return PatchTransform(IMAGE_CHANNELS, self.factor, self.config.model.lookup_dim)

    def _words(self, scores: Tensor, rows: Tensor) -> tuple[tuple[Word, ...], ...]:
        entries = self.global_codebook.entries
        return tuple(
            tuple(
                Word(entries[row].word, entries[row].ids, score)
                for score, row in zip(image_scores, image_rows, strict=True)
            )
            for image_scores, image_rows in zip(scores.tolist(), rows.tolist(), strict=True)
        )

    def _rows(self, local_ids: Tensor) -> Tensor:
        known = self.local_codebook.row_of_token
        unknown = [token_id for token_id in local_ids.flatten().tolist() if token_id not in known]
        if unknown:
            raise V2LError(
                f"got local id {unknown[0]}, which is no word of the local codebook",
                f"one of its {len(self.local_codebook)} ids",
                "model.encode(image)",
            )
        return torch.tensor(
            [known[token_id] for token_id in local_ids.flatten().tolist()], device=self.device
        ).view(local_ids.shape)

    @staticmethod
    def _check(images: Tensor) -> None:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise V2LError(
                f"got images of shape {tuple(images.shape)} and dtype {images.dtype}",
                "(B, 3, H, W) float32 in [0, 1]",
                "image[None]",
            )


def load_strictly(module: nn.Module, weights: dict[str, Tensor], where: Path) -> None:
    """Load weights that fit exactly.

    Raises:
        V2LError: naming the missing, unexpected and misshapen keys, or keys that hold NaN.
    """
    wanted = module.state_dict()
    problems = {
        "missing": sorted(wanted.keys() - weights.keys()),
        "unexpected": sorted(weights.keys() - wanted.keys()),
        "misshapen": sorted(
            key for key in wanted.keys() & weights.keys() if wanted[key].shape != weights[key].shape
        ),
        "not finite": sorted(
            key
            for key, tensor in weights.items()
            if tensor.is_floating_point() and not tensor.isfinite().all()
        ),
    }
    told = "; ".join(
        f"{len(keys)} {kind} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for kind, keys in problems.items()
        if keys
    )
    if told:
        raise V2LError(
            f"the weights in {where} do not fit: {told}", "weights of the same config", "v2l train"
        )
    module.load_state_dict({key: tensor.to(wanted[key].dtype) for key, tensor in weights.items()})

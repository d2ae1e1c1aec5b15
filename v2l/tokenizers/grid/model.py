"""image ⇄ global words and a grid of local words: the V2L Tokenizer.

Local words: image ──► CNN encoder ──► nearest word of each cell. Global words: image ──► frozen joint
encoder ──► nearest words. The decoder reads both. The LLM is not loaded here, because the codebooks hold its
vocabulary. Source: V2L Tokenizer, arXiv 2403.07874, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from v2l.codebook.codebook import Codebook
from v2l.config import Config, config_from_dict, config_to_dict
from v2l.encoders import JointEncoder
from v2l.encoders.base import fingerprint_of
from v2l.errors import V2LError
from v2l.images import centre_crop, resize_and_crop, resize_in_two_steps
from v2l.tokenizers.cnn.autoencoder import GridAutoencoder
from v2l.tokenizers.contract import LLMVocabulary, PreparedTokens, check_images, check_streams
from v2l.tokenizers.grid.model_card import CardSizes, model_card
from v2l.tokenizers.registry import member_named
from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import CellGrid, CodeStream, GridTokens, VisualTokens

NAME = "v2l"
KIND, SHIPPED = member_named(NAME).kind, member_named(NAME).shipped()


class V2LTokenizer(GridAutoencoder):
    """Images ⇄ words of a frozen LLM's vocabulary.

    A VQ autoencoder gives the local words, one for each grid cell. A word tagger gives the global words,
    which describe the whole image.

    Args:
        config: sizes of the networks, and the names of the frozen models.
        local_codebook: single tokens of the LLM, for grid cells.
        global_codebook: subwords, bigrams and trigrams, for whole images.

    Raises:
        V2LError: the two codebooks come from different models.

    Example:
        >>> import v2l
        >>> model = v2l.V2LTokenizer.from_pretrained()
        >>> tokens = model.encode(v2l.load_image("data/samples/shoes/boots.jpg")[None])
        >>> tokens.local_ids.shape, model.decode(tokens).shape
        (torch.Size([1, 16, 16]), torch.Size([1, 3, 128, 128]))
    """

    NAME = NAME

    def __init__(self, config: Config, local_codebook: Codebook, global_codebook: Codebook) -> None:
        if local_codebook.source != global_codebook.source:
            raise V2LError(
                f"the local codebook comes from {local_codebook.source} "
                f"and the global one from {global_codebook.source}",
                "two codebooks of one build",
                "v2l build-codebook",
            )
        super().__init__(config, local_codebook.embeddings, global_codebook.embeddings)
        self.local_codebook, self.global_codebook = local_codebook, global_codebook
        self._tagger = WordTagger(global_codebook, config.models.encoder, config.model.word_ranking)

    @property
    def tagger(self) -> WordTagger:
        """The word tagger of the global words: frozen joint encoder and global codebook."""
        return self._tagger

    @property
    def vocabulary(self) -> LLMVocabulary:
        """Name and fingerprint of the LLM whose words the codebooks hold."""
        return LLMVocabulary(self.local_codebook.source.llm, self.local_codebook.source.llm_fingerprint)

    @property
    def codebook_size(self) -> int:
        """Number of local words."""
        return len(self.local_codebook)

    @property
    def codes_description(self) -> str:
        source, sizes = (
            self.local_codebook.source,
            f"{len(self.local_codebook):,} and {len(self.global_codebook):,}",
        )
        return f"{sizes} words of {source.llm} ({source.llm_fingerprint})"

    @property
    def words_fingerprint(self) -> str:
        return f"{self.local_codebook.fingerprint} {self.global_codebook.fingerprint}"

    @property
    def joint_encoder(self) -> JointEncoder:
        """The frozen joint encoder, loaded at the first use.

        Raises:
            V2LError: it is not on this machine, or it did not embed the codebooks.
        """
        return self._tagger.joint_encoder(self.device)

    def use_joint_encoder(self, encoder: JointEncoder) -> None:
        """Use a joint encoder that is already loaded.

        Raises:
            V2LError: it did not embed the codebooks.
        """
        self._tagger.use_joint_encoder(encoder)

    @torch.inference_mode()
    def global_tokens(self, images: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Find the global words of images.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], of any size.
            count: G, words per image; None takes the config's `global_tokens`.

        Returns:
            scores (B, G) float32 and rows of the global codebook (B, G) int64, nearest first.
        """
        return self.nearest_words(self.joint_encoder.encode_images(images), count)

    def nearest_words(self, vectors: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Find the global words of image embeddings, ranked as the config says.

        Args:
            vectors: (B, D) float32 image embeddings of the joint encoder, of unit length.
            count: G, words per image; None takes the config's `global_tokens`.

        Returns:
            scores (B, G) float32 and rows of the global codebook (B, G) int64, nearest first.

        Raises:
            V2LError: the codebook has fewer than G words.
        """
        return self._tagger.nearest(vectors, count or self.config.model.global_tokens)

    @torch.inference_mode()
    def square(self, images: Tensor, size: int | None = None) -> Tensor:
        """Resize and crop images (B, 3, H, W) in [0, 1] to squares (B, 3, S, S) for local tokens.

        S is `size`, by default the config's `image_size`.
        """
        size = size or self.config.model.image_size
        if self.config.model.resize == "two-step":
            return resize_in_two_steps(images, size)
        return resize_and_crop(images, size)

    @torch.inference_mode()
    def encode(self, images: Tensor, crop: bool = True) -> GridTokens:
        """Encode images to global and local tokens.

        Args:
            images: (B, 3, H, W) float32 in [0, 1]. The joint encoder gets them unchanged.
            crop: True resizes and crops them to the config's square for the local tokens. False needs H and
                W to be multiples of f, and every f × f pixels become a token.

        Raises:
            V2LError: the images have another shape or dtype.
        """
        check_images(images)
        scores, rows = self.global_tokens(images)
        local_ids = self.encode_local(self.square(images) if crop else images)
        return GridTokens(rows, local_ids, self._tagger.readable(scores, rows))

    @torch.inference_mode()
    def encode_whole(self, image: Tensor, scale: str | None = None) -> GridTokens:
        """Encode a whole photograph (3, H, W), not cropped, at one of `SCALES`; B = 1."""
        scores, rows = self.global_tokens(image[None])
        local_ids = self.encode_local(self.at_scale(image, scale))
        return GridTokens(rows, local_ids, self._tagger.readable(scores, rows))

    @property
    def needed_pixels(self) -> int:
        """Twice the side of the larger view: halving a JPEG above that is not seen in it."""
        return 2 * max(self.joint_encoder.image_size, self.config.model.image_size)

    @torch.inference_mode()
    def prepare(self, image: Tensor) -> tuple[Tensor, ...]:
        """(3, H, W) in [0, 1] ──► the joint encoder's square (3, S, S), and the square for local tokens."""
        return self.joint_encoder.prepare(image), self.square(image[None])[0]

    @torch.inference_mode()
    def encode_prepared(
        self, views: Sequence[tuple[Tensor, ...]], vectors: bool = False
    ) -> list[PreparedTokens]:
        """The tokens of prepared images, in one forward pass of each encoder."""
        seen, squares = (torch.stack(view).to(self.device) for view in zip(*views, strict=True))
        embedded = self.joint_encoder.encode_images(seen)
        scores, rows = self.nearest_words(embedded)
        tokens = GridTokens(rows, self.encode_local(squares), self._tagger.readable(scores, rows))
        return [
            PreparedTokens(tokens[place], embedded[place] if vectors else None) for place in range(len(views))
        ]

    @torch.inference_mode()
    def encode_local(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] ──► local tokens (B, h, w) int64, token ids of the LLM.

        Raises:
            V2LError: H or W is not a multiple of f.
        """
        rows = self.encode_rows(images)
        return self.local_codebook.token_ids.to(self.device)[rows]

    @torch.inference_mode()
    def decode(self, tokens: VisualTokens) -> Tensor:
        """Decode tokens to images (B, 3, h · f, w · f) float32 in [0, 1].

        Raises:
            V2LError: the tokens are of another tokenizer, a local id is not in the local codebook, or a
                global id is not a row of the global codebook.
        """
        if not isinstance(tokens, GridTokens):
            raise V2LError(
                f"got {tokens.kind} that are no V2L grid",
                "GridTokens, with global_ids and local_ids",
                "model.encode(image)",
            )
        rows = self._rows(tokens.local_ids)
        if tokens.global_ids.min() < 0 or tokens.global_ids.max() >= len(self.global_codebook):
            raise V2LError(
                "a global id lies outside the global codebook",
                f"0 to {len(self.global_codebook) - 1}",
                "model.encode(image)",
            )
        return self.decode_rows(rows, self.context(tokens.global_ids.to(self.device)))

    def code_streams(self, tokens: VisualTokens) -> tuple[CodeStream, ...]:
        """The local words of one image as rows of their codebook, and its global words."""
        if not isinstance(tokens, GridTokens):
            raise V2LError(f"got {tokens.kind} that are no V2L grid", "GridTokens", "model.encode(image)")
        local = self._rows(tokens.local_ids)[0].cpu()
        return (
            CodeStream(local, len(self.local_codebook)),
            CodeStream(tokens.global_ids.cpu(), len(self.global_codebook)),
        )

    def tokens_of_streams(self, streams: Sequence[CodeStream]) -> GridTokens:
        """What `code_streams` gave ──► tokens, B = 1; their words have no scores, which no file keeps."""
        check_streams(streams, (len(self.local_codebook), len(self.global_codebook)))
        local, named = (stream.rows for stream in streams)
        local_ids = self.local_codebook.token_ids[local][None]
        return GridTokens(named, local_ids, self._tagger.readable(torch.zeros(named.shape), named))

    @property
    def fingerprint(self) -> str:
        """Hash of weights and codebooks."""
        words = {
            "local ids": self.local_codebook.token_ids,
            "local rows": self.local_codebook.embeddings,
            "global rows": self.global_rows,
        }
        return fingerprint_of({**self.state_dict(), **words})

    def token_words(self, tokens: VisualTokens, image: int = 0) -> tuple[str, ...]:
        """The local words of one image, one for each cell in raster order."""
        words, rows = self.local_codebook.words, self.local_codebook.row_of_token
        ids: list[int] = [] if tokens.ids is None else tokens.ids[image].tolist()
        return tuple(words[rows[token_id]] for token_id in ids)

    def visible_part(self, image: Tensor, tokens: VisualTokens) -> Tensor:
        """The part of an image (3, H, W) that the grid covers.

        It is the centre square for a square grid, because `encode` crops, and else the whole image.
        """
        grid, side = tokens.layout, min(image.shape[-2:])
        is_square = isinstance(grid, CellGrid) and grid.rows == grid.columns
        return centre_crop(image, (side, side)) if is_square else image

    @property
    def code_fingerprint(self) -> str:
        """Hash of the local words and the quantizer's weights.

        A LoRA adapter is valid only for the codes with which it was trained.
        """
        return fingerprint_of({"token_ids": self.local_codebook.token_ids, **self.quantizer.state_dict()})

    def describe(self) -> dict[str, str]:
        """Names and fingerprints of the tokenizer and its frozen models, for reports."""
        source = self.local_codebook.source
        return {
            **super().describe(),
            "encoder": source.encoder,
            "encoder_fingerprint": source.encoder_fingerprint,
            "variant": self.config.model.variant,
        }

    def model_card(self) -> str:
        """The model card: the text of README.md in a saved directory."""
        weights = sum(tensor.numel() for tensor in self.state_dict().values())
        sizes = CardSizes(weights, self.factor, len(self.local_codebook), len(self.global_codebook))
        return model_card(self.network, self.local_codebook.source, sizes, self.facts)

    def settings(self) -> dict[str, Any]:
        """The config, and the names and fingerprints of the frozen models, for the manifest."""
        return {"config": config_to_dict(self.config), "source": vars(self.local_codebook.source)}

    def save_parts(self, folder: Path) -> None:
        """Write both codebooks into the directory."""
        self.local_codebook.save(folder / "local")
        self.global_codebook.save(folder / "global")

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        """Build the tokenizer from a manifest and two codebooks, with random weights."""
        config = config_from_dict(manifest["config"], str(folder))
        return cls(config, Codebook.load(folder / "local"), Codebook.load(folder / "global"))

    def _rows(self, local_ids: Tensor) -> Tensor:
        """Token ids of the LLM (B, h, w) ──► rows of the local codebook (B, h, w) int64."""
        known = self.local_codebook.row_of_token
        ids: list[int] = local_ids.flatten().tolist()
        unknown = [token_id for token_id in ids if token_id not in known]
        if unknown:
            raise V2LError(
                f"got local id {unknown[0]}, which is no word of the local codebook",
                f"one of its {len(self.local_codebook)} ids",
                "model.encode(image)",
            )
        return torch.tensor([known[token_id] for token_id in ids], device=self.device).view(local_ids.shape)

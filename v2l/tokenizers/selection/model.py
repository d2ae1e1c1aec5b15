"""image ──► words of the patches that are kept, each with what it has read from the dropped ones.

Frozen: the joint encoder and the words. Trained: selector, merger and decoder. Source: LaVIT, arXiv
2309.04669, section 3.1; the words instead of a learned codebook are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.checkpoint import load_tensors, save_tensors
from v2l.sections import section_from_dict
from v2l.tokenizers.contract import check_images
from v2l.tokenizers.patch_words import part_tokens
from v2l.tokenizers.placed_words import PlacedWordsTokenizer, load_tagger
from v2l.tokenizers.selection.choice import Order, helpful_order
from v2l.tokenizers.selection.draft import Draft
from v2l.tokenizers.selection.network import Codes, SelectionNetwork
from v2l.tokenizers.selection.selector import decide, keep_best
from v2l.tokenizers.selection.settings import SelectionSettings
from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import ClusterMap, VisualTokens

MOST = 0.7  # of the patches of an image, at most, when the draft chooses how many
ROWS = "rows.safetensors"  # of the codebook, those that tokens may be quantized to


class Selected(NamedTuple):
    """The chosen patches of B images on one grid."""

    features: Tensor  # (B, h, w, C), the frozen features
    kept: Tensor  # (B, h · w) float32, 0 or 1
    codes: Codes


class SelectionTokenizer(PlacedWordsTokenizer):
    """Images ──► a word for each kept patch.

    Args:
        settings: sizes.
        channels: C of the encoder's patch features.
        rows: (V,) int64, the rows of the codebook that tokens may be quantized to.
        namer: gives the words; None is the one that ships.
    """

    NAME = "lavit"
    rows: Tensor
    cut: Tensor

    def __init__(
        self, settings: SelectionSettings, channels: int, rows: Tensor, namer: WordTagger | None = None
    ) -> None:
        super().__init__(namer)
        self.selection_settings, self.channels = settings, channels
        self.register_buffer("rows", rows, persistent=False)
        vectors = self.namer.codebook.embeddings[rows].float()
        self.register_buffer("cut", torch.zeros(()))  # of log-odds or gains, above which a patch is kept
        self.network = SelectionNetwork(settings, channels, vectors)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> VisualTokens:
        """(B, 3, H, W) in [0, 1] ──► a word and a vector for each kept patch, in raster order."""
        check_images(images)
        return self.tokens(self.select(images))

    @torch.inference_mode()
    def select(self, images: Tensor, ratio: float | None = None) -> Selected:
        """(B, 3, H, W) in [0, 1] ──► the kept patches with their codes.

        Args:
            images: a batch.
            ratio: the share of patches to keep; None leaves it to the selector, image by image.
        """
        features = self.joint_encoder.patch_features(images, self.selection_settings.side)
        return self.read(features, self.choose(features, ratio))

    @torch.inference_mode()
    def choose(self, features: Tensor, ratio: float | None = None) -> Tensor:
        """Features (B, h, w, C) ──► kept (B, h · w) of 0 and 1; `ratio` as in `select`."""
        if self.network.draft is not None and self.selection_settings.chooses == "draft":
            return self._helpful(self.network.draft, features, ratio)
        chances = self.network.selector(self.network.patches(features))
        return decide(chances, self.cut) if ratio is None else keep_best(chances, ratio)

    def _helpful(self, draft: Draft, features: Tensor, ratio: float | None) -> Tensor:
        """What helps the draft most: a share of the patches, or each that helps more than the cut."""
        grid, count = (features.shape[1], features.shape[2]), features.shape[1] * features.shape[2]
        kept = features.new_zeros(len(features), count)
        most = max(1, round((MOST if ratio is None else ratio) * count))
        for row, order in zip(kept, self.orders(draft, features, grid, most), strict=True):
            many = most if ratio is not None else max(1, int((order.gains > self.cut).sum()))
            row[order.places[:many]] = 1
        return kept

    def orders(self, draft: Draft, features: Tensor, grid: tuple[int, int], most: int) -> list[Order]:
        """The patches of each image in the order in which they help, `most` of them."""
        starts = self.network.starts(features, self.joint_encoder.to_joint_space(features).flatten(1, 2))
        codes, wanted = self.network.unread_codes(starts), normalize(features.flatten(1, 2), dim=-1)
        return [helpful_order(draft, *each, grid, most) for each in zip(codes, wanted, strict=True)]

    @torch.inference_mode()
    def read(self, features: Tensor, kept: Tensor) -> Selected:
        """Features (B, h, w, C) and kept (B, h · w) ──► the codes of the kept patches."""
        near = self.network.starts(features, self.joint_encoder.to_joint_space(features).flatten(1, 2))
        tokens = self.network.merge(self.network.patches(features), kept)
        return Selected(features, kept, self.network.code(tokens, near))

    @torch.inference_mode()
    def rebuild(self, selected: Selected) -> Tensor:
        """The features (B, h, w, C) that the tokens alone say."""
        _, h, w, _ = selected.features.shape
        rebuilt: Tensor = self.network.rebuild(selected.codes.entries, selected.kept, (h, w))
        cells: Tensor = rebuilt.unflatten(1, (h, w))
        return cells

    def tokens(self, selected: Selected) -> VisualTokens:
        """The kept patches of B images as tokens, words and a map of kept cells.

        A learned code has no word, so the patch that was kept gives it one.
        """
        kept = selected.kept.bool()
        numbers = torch.where(kept, kept.cumsum(dim=1) - 1, -1)  # the token of each cell; -1 where dropped
        layout = ClusterMap(numbers.view(selected.features.shape[:3]).cpu())
        if not self.network.reads_words:
            near = self.joint_encoder.to_joint_space(selected.features).flatten(1, 2)
            vectors = [each[mask] for each, mask in zip(near, kept, strict=True)]
            return part_tokens(self.namer, vectors, layout)
        chosen = normalize(selected.codes.vectors[..., : self.network.joint_width], dim=-1)
        indices = selected.codes.indices
        return part_tokens(
            self.namer,
            [each[mask] for each, mask in zip(chosen, kept, strict=True)],
            layout,
            [self.rows[each[mask]] for each, mask in zip(indices, kept, strict=True)],
        )

    def describe(self) -> dict[str, str]:
        return {**super().describe(), "codebook": self.selection_settings.codebook}

    def settings(self) -> dict[str, Any]:
        network = {"selection": asdict(self.selection_settings)}
        return {**super().settings(), **network, "channels": self.channels}

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        settings = section_from_dict(SelectionSettings, manifest["selection"], "selection")
        rows = load_tensors(folder / ROWS)["rows"]
        return cls(settings, manifest["channels"], rows, load_tagger(manifest["words"], folder))

    def save_parts(self, folder: Path) -> None:
        super().save_parts(folder)
        save_tensors(folder / ROWS, {"rows": self.rows})

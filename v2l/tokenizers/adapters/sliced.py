"""image ──► overview and slices ──► soft tokens of each, with the LLM's own marks between them: uhd.

All parts share one resampler. A comma stands behind a slice, a line break behind the overview and behind a
row, and there is no other mark of position. Source: LLaVA-UHD, arXiv 2403.11703, section 3. Ours: a part is
squeezed to the encoder's square, the overview ends with a line break too, and the resampler begins as that of
`resampler.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from v2l.encoders import JointEncoder
from v2l.places import Box
from v2l.tokenizers.adapters.model import AdapterSettings
from v2l.tokenizers.adapters.resampler import FittedResampler, ResamplerTokenizer
from v2l.tokenizers.contract import check_images
from v2l.tokenizers.part_views import VIEWS, view
from v2l.tokenizers.slice_grid import SliceGrid, choose_grid, slice_boxes
from v2l.tokens import Boxes, VisualTokens, Word

MARKS = (",", "\n")
COMMA, BREAK = range(len(MARKS))
NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)  # what a mark covers


class SlicedResampler(FittedResampler):
    """One resampler for all parts, and the embeddings of the marks, which are not trained.

    Args:
        settings: sizes of the adapter.

    Attributes:
        marks: (2, width), what the LLM reads for `MARKS`.
    """

    marks: Tensor

    def __init__(self, settings: AdapterSettings) -> None:
        super().__init__(settings)
        self.register_buffer("marks", torch.zeros(len(MARKS), settings.width))


class SlicedTokenizer(ResamplerTokenizer):
    """LLaVA-UHD's slices, each read by Qwen-VL's resampler."""

    NAME = "uhd"
    network: SlicedResampler

    @staticmethod
    def network_of(settings: AdapterSettings) -> SlicedResampler:
        return SlicedResampler(settings)

    def learn_marks(self, embeddings: Tensor) -> None:
        """Take what the LLM reads for `MARKS`: (2, width)."""
        self.network.marks.copy_(embeddings / self.adapter.scale)

    def forward(self, features: Tensor, columns: int = 0) -> Tensor:
        """Patch features of the parts of one image (P, h, w, C) ──► soft tokens and marks (M, width).

        Args:
            features: of the overview, then of the slices row by row.
            columns: slices in a row; 0 if there are none.
        """
        pieces: list[Tensor] = []
        soft = super().forward(features)  # (P, N, width)
        marks = self.network.marks * self.adapter.scale
        for part, mark in zip(soft, marks_behind(len(soft), columns), strict=True):
            pieces += [part] if mark is None else [part, marks[mark, None]]
        return torch.cat(pieces)

    def encode(self, images: Tensor) -> VisualTokens:
        """(B, 3, H, W) in [0, 1], any size ──► embeddings (B, M, width), with gradients to the network.

        M is the same for images of one size. The layout has the box of each token's part; a mark covers
        nothing, and has no word.
        """
        check_images(images)
        grid = self.grid(*images.shape[-2:])
        boxes, columns = slice_boxes(grid), grid.columns if grid else 0
        soft = [self(part_features(self.joint_encoder, image, boxes).clone(), columns) for image in images]
        corners: list[Box] = []
        for box, mark in zip(boxes, marks_behind(len(boxes), columns), strict=True):
            corners += [box] * self.adapter.tokens + ([] if mark is None else [NOWHERE])
        words = tuple(tuple(self._words(one, corners)) for one in soft) if self.table.words else ()
        layout = Boxes(torch.tensor(corners).expand(len(images), -1, 4))
        return VisualTokens("embeddings", embeddings=torch.stack(soft), layout=layout, words=words)

    def grid(self, height: int, width: int) -> SliceGrid | None:
        """How an image of this size is cut; None: it fits into the encoder's square."""
        return choose_grid(width, height, self.joint_encoder.image_size)

    def visible_part(self, image: Tensor, tokens: VisualTokens) -> Tensor:
        """The whole image."""
        return image

    def image_view(self, image: Tensor) -> Tensor:
        """The whole image."""
        return image

    def _words(self, soft: Tensor, corners: Sequence[Box]) -> list[Word]:
        """The nearest word of each token of one image (M, width); none for a mark."""
        nearest = self.table.nearest(soft.detach())
        return [
            Word("", (), 0.0) if box == NOWHERE else word for word, box in zip(nearest, corners, strict=True)
        ]


def marks_behind(parts: int, columns: int) -> list[int | None]:
    """The mark behind each part, `COMMA` or `BREAK`; none behind the last one.

    Args:
        parts: the overview and the slices, P.
        columns: slices in a row.
    """
    slices = [BREAK if number % columns == 0 else COMMA for number in range(1, parts)] if columns else []
    return [*[BREAK, *slices][: parts - 1], None]


@torch.no_grad()
def part_features(encoder: JointEncoder, image: Tensor, boxes: Sequence[Box]) -> Tensor:
    """The patch features of parts of an image (3, H, W), in bounded memory: (P, h, w, C)."""
    views = (boxes[start : start + VIEWS] for start in range(0, len(boxes), VIEWS))
    return torch.cat(
        [
            encoder.patch_features(torch.stack([view(image, box, encoder.image_size) for box in some]))
            for some in views
        ]
    )

"""image ──► words of the whole image and of each slice of a grid, as many slices as the image needs.

An image of many pixels is cut into slices that the encoder reads one by one. The published model gives
64 or 144 vectors a slice to the LLM; here a slice gives words of the LLM's vocabulary. Source: LLaVA-UHD,
arXiv 2403.11703, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.places import PlacedWord
from v2l.prompts.places import in_rows
from v2l.tokenizers.contract import check_images
from v2l.tokenizers.part_views import encode_boxes
from v2l.tokenizers.placed_words import PlacedWordsTokenizer, load_tagger
from v2l.tokenizers.slice_grid import MOST, choose_grid, slice_boxes
from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import Boxes, VisualTokens


@dataclass(frozen=True)
class SliceSettings:
    """How an image is cut, and how many words its parts get.

    Attributes:
        side: s, pixels of the square whose area a slice should have; 0 takes the square that the encoder
            reads (the paper's 336 for its encoder).
        most: slices at most.
        overview_words: words of the whole image.
        slice_words: words of a slice.

    Raises:
        V2LError: a number is out of its range.
    """

    side: int = 0
    most: int = MOST
    overview_words: int = 3
    slice_words: int = 2

    def __post_init__(self) -> None:
        least = {"side": 0, "most": 2, "overview_words": 1, "slice_words": 1}
        for name, smallest in least.items():
            if (value := getattr(self, name)) < smallest:
                raise V2LError(f"got {name} {value}", f"at least {smallest}", f"{name}={smallest}")


class SliceTokenizer(PlacedWordsTokenizer):
    """Images ──► words of the overview, then of each slice, row by row.

    Args:
        settings: how an image is cut.
        namer: gives the words; None is the one that ships.

    Example:
        >>> import v2l
        >>> tokenizer = v2l.load_tokenizer("slices")
        >>> tokens = tokenizer.encode(v2l.load_image("data/samples/shoes/boots.jpg")[None])
        >>> tokens.layout.corners.shape[0]
        1
    """

    NAME = "slices"
    WRITES_ALL = True

    def __init__(self, settings: SliceSettings | None = None, namer: WordTagger | None = None) -> None:
        super().__init__(namer)
        self.slicing = settings or SliceSettings()

    @torch.inference_mode()
    def encode(self, images: Tensor) -> VisualTokens:
        """Images ──► words with boxes.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], of any size; one slice at a time is copied.

        Returns:
            tokens of the kind words; ids (B, N) are rows of the codebook, and the layout has the box of each
            word's part. N is the same for all images of one size.

        Raises:
            V2LError: the images have another shape or dtype.
        """
        check_images(images)
        height, width = images.shape[-2:]
        side = self.slicing.side or self.joint_encoder.image_size
        boxes = slice_boxes(choose_grid(width, height, side, self.slicing.most))
        counts = [self.slicing.overview_words] + [self.slicing.slice_words] * (len(boxes) - 1)
        most = max(counts)
        ids, words = [], []
        for image in images:
            scores, rows = self.namer.nearest(encode_boxes(self.joint_encoder, image, boxes), most)
            named = self.namer.readable(scores, rows)
            ids.append(torch.cat([row[:count] for row, count in zip(rows, counts, strict=True)]).cpu())
            words.append(
                tuple(word for part, count in zip(named, counts, strict=True) for word in part[:count])
            )
        corners = torch.tensor([box for box, count in zip(boxes, counts, strict=True) for _ in range(count)])
        layout = Boxes(corners.expand(len(images), -1, 4))
        return VisualTokens("words", torch.stack(ids), layout=layout, words=tuple(words))

    def write_words(self, words: Sequence[PlacedWord]) -> tuple[str, ...]:
        """The published layout: a comma after a slice, a line break after a row, and no other position."""
        return in_rows(words)

    def settings(self) -> dict[str, Any]:
        """The numbers, and where the words come from."""
        return {**super().settings(), "slicing": asdict(self.slicing)}

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        """The tokenizer of a manifest; it has no weights of its own."""
        return cls(SliceSettings(**manifest["slicing"]), load_tagger(manifest["words"], folder))

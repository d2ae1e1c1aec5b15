"""image ──► regions, the best first, each with words: `<r0>` dog, `<r1>` ball.

Proposals come from windows that the frozen joint encoder scores, from an object-detection model, or from the
user. Non-maximum suppression keeps some of them, and each gets the words nearest to its own pixels. The
published region encoder is trained: RoIAlign on three feature maps, then convolutions. Here RoIAlign on the
frozen feature map scores windows, and the frozen encoder reads the crop of each region. Source: Groma, arXiv
2404.13013, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.places import Box, PlacedWord
from v2l.prompts.places import in_words
from v2l.prompts.regions import region_name
from v2l.tokenizers.contract import check_images
from v2l.tokenizers.part_views import encode_boxes
from v2l.tokenizers.placed_words import PlacedWordsTokenizer, load_tagger
from v2l.tokenizers.regions.boxes import LEAST_SCORE, MOST, OVERLAP, ScoredBoxes, boxes_in_shares
from v2l.tokenizers.regions.proposals import propose_windows
from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import Boxes, VisualTokens, Word

if TYPE_CHECKING:
    from v2l.tokenizers.regions.detector import Detector


@dataclass(frozen=True)
class RegionSettings:
    """Which proposals become regions.

    Attributes:
        most: regions an image, at most 100; the paper has 100.
        overlap: intersection over union above which the worse of two boxes is dropped.
        least_score: a box needs a higher score; if none has one, the best box is kept.
        words: words of a region.
        detector: folder or hub name of an object-detection model of transformers; empty: windows.

    Raises:
        V2LError: a number is out of its range.
    """

    most: int = 12
    overlap: float = OVERLAP
    least_score: float = LEAST_SCORE
    words: int = 1
    detector: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MOST:
            raise V2LError(f"got {self.most} regions an image", f"1 to {MOST}")
        if self.words < 1:
            raise V2LError(f"got {self.words} words a region", "1 and more")


class RegionTokenizer(PlacedWordsTokenizer):
    """Images ──► words of regions, each token a word with the box of its region.

    Args:
        settings: which proposals become regions.
        namer: gives the words; None is the one that ships.

    Example:
        >>> import v2l
        >>> tokenizer = v2l.load_tokenizer("groma")
        >>> tokenizer.use_boxes([(10, 10, 100, 120)])
        >>> tokens = tokenizer.encode(v2l.load_image("data/samples/shoes/boots.jpg")[None])
        >>> len(tokens.strings())
        1
    """

    NAME = "groma"

    def __init__(self, settings: RegionSettings | None = None, namer: WordTagger | None = None) -> None:
        super().__init__(namer)
        self.choice = settings or RegionSettings()
        self.boxes: tuple[tuple[float, ...], ...] = ()
        self._detector: Detector | None = None

    def use_boxes(self, boxes: Sequence[Sequence[float]]) -> None:
        """Take a user's boxes in place of proposals, for all images that follow; none: proposals again.

        Args:
            boxes: left, top, right, bottom in pixels; `encode` checks that they lie inside the image.
        """
        self.boxes = tuple(tuple(box) for box in boxes)

    def use_detector(self, name: str) -> None:
        """Take the proposals of an object-detection model of transformers; see `Detector`."""
        self.choice, self._detector = replace(self.choice, detector=name), None

    @torch.inference_mode()
    def encode(self, images: Tensor) -> VisualTokens:
        """Images ──► words with boxes.

        Args:
            images: (B, 3, H, W) float32 in [0, 1], of any size.

        Returns:
            tokens of the kind words, the best region first; ids (B, N) are rows of the codebook. Images
            have different numbers of regions, so there is a mask.

        Raises:
            V2LError: the images have another shape or dtype, or a user's box does not lie inside them.
        """
        check_images(images)
        found = [self._regions(image) for image in images]
        most = max(len(boxes) for boxes, _, _ in found) * self.choice.words
        ids = torch.zeros(len(images), most, dtype=torch.int64)
        mask = torch.zeros(len(images), most, dtype=torch.bool)
        corners = torch.zeros(len(images), most, 4)
        words: list[tuple[Word, ...]] = []
        for index, (boxes, scores, rows) in enumerate(found):
            count = rows.numel()
            ids[index, :count], mask[index, :count] = rows.flatten(), True
            corners[index, :count] = boxes.repeat_interleave(self.choice.words, dim=0)
            named = self.namer.readable(scores, rows)
            words.append(tuple(word for region in named for word in region))
        return VisualTokens("words", ids, mask=mask, layout=Boxes(corners), words=tuple(words))

    def propose(self, image: Tensor) -> ScoredBoxes:
        """The proposals of an image (3, H, W): a detector's, or windows that the encoder scores.

        Raises:
            V2LError: the detector cannot be loaded, or the encoder has no features of patches.
        """
        if self.choice.detector:
            return self.detector.propose(image)
        return propose_windows(self.joint_encoder, self.namer, image)

    @property
    def detector(self) -> Detector:
        """The object-detection model, loaded at the first use.

        Raises:
            V2LError: it is not there, or is none.
        """
        if self._detector is None:
            from v2l.tokenizers.regions.detector import Detector

            self._detector = Detector(self.choice.detector, self.device)
        return self._detector

    def placed_words(self, tokens: VisualTokens, image: int = 0) -> tuple[PlacedWord, ...]:
        """The words of each region with its name, the best region first."""
        placed = sorted(super().placed_words(tokens, image), key=lambda word: word.token)
        return tuple(replace(word, name=region_name(word.token // self.choice.words)) for word in placed)

    def write_words(self, words: Sequence[PlacedWord]) -> tuple[str, ...]:
        """Each region by its name, word and position: "<r0> dog (left)"."""
        return in_words(words)

    def token_words(self, tokens: VisualTokens, image: int = 0) -> tuple[str, ...]:
        """The words, each behind the name of its region."""
        return tuple(f"{word.name} {word.word}" for word in self.placed_words(tokens, image))

    def settings(self) -> dict[str, Any]:
        """The numbers, and where the words come from."""
        return {**super().settings(), "regions": asdict(self.choice)}

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        """The tokenizer of a manifest; it has no weights of its own."""
        return cls(RegionSettings(**manifest["regions"]), load_tagger(manifest["words"], folder))

    def _regions(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, 4) of an image, scores (N, words) and rows (N, words) of its words, on the CPU."""
        if self.boxes:
            boxes = boxes_in_shares(self.boxes, (image.shape[-2], image.shape[-1]))
        else:
            proposed = self.propose(image)
            kept = proposed.best(self.choice.overlap, self.choice.least_score, self.choice.most)
            boxes = proposed.boxes[kept]
        vectors = encode_boxes(self.joint_encoder, image, [_box(corners) for corners in boxes.tolist()])
        scores, rows = self.namer.nearest(vectors, self.choice.words)
        return boxes, scores.cpu(), rows.cpu()


def _box(corners: Sequence[float]) -> Box:
    left, top, right, bottom = corners
    return left, top, right, bottom

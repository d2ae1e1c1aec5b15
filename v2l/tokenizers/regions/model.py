"""image ──► regions, the best first, each with words: `<r0>` dog, `<r1>` ball.

Proposals come from windows that are scored by their nearest word, from an object-detection model, or from the
user. Non-maximum suppression keeps some of them, and each gets the words nearest to its own pixels. Two ways
lead from a box to its vector. Without training, RoIAlign pools the frozen feature map in each window, and the
frozen encoder reads the crop of a user's or a detector's box. The trained region encoder, as published, reads
all boxes from the maps of one pass. Regions with one word that lie on each other become one. Source: Groma,
arXiv 2404.13013, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.places import Box, PlacedWord
from v2l.prompts.regions import region_name
from v2l.sections import section_from_dict
from v2l.tokenizers.contract import check_images
from v2l.tokenizers.part_views import encode_boxes
from v2l.tokenizers.placed_words import PlacedWordsTokenizer, load_tagger
from v2l.tokenizers.regions.boxes import (
    LEAST_SCORE,
    MOST,
    OVERLAP,
    ScoredBoxes,
    box_around,
    boxes_in_shares,
    share_covered,
)
from v2l.tokenizers.regions.levels import align, mean_of_boxes, read_levels
from v2l.tokenizers.regions.network import RegionEncoder
from v2l.tokenizers.regions.proposals import windows
from v2l.tokenizers.regions.settings import RegionEncoderSettings
from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import Boxes, VisualTokens, Word

if TYPE_CHECKING:
    from v2l.tokenizers.regions.detector import Detector


COVERED = 0.3  # share of the smaller of two boxes with one word from which they are one region


@dataclass(frozen=True)
class RegionSettings:
    """Which proposals become regions.

    Attributes:
        most: regions an image, at most 100; the paper has 100.
        overlap: intersection over union above which the worse of two boxes is dropped.
        least_score: a box needs a higher score; if none has one, the best box is kept.
        words: words of a region.
        detector: folder or hub name of an object-detection model of transformers; empty: windows.
        crops: whether each window is cut out and encoded by itself: 190 passes of the encoder instead of one.

    Raises:
        V2LError: a number is out of its range.
    """

    most: int = 12
    overlap: float = OVERLAP
    least_score: float = LEAST_SCORE
    words: int = 1
    detector: str = ""
    crops: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MOST:
            raise V2LError(f"got {self.most} regions an image", f"1 to {MOST}")
        if self.words < 1:
            raise V2LError(f"got {self.words} words a region", "1 and more")


@dataclass(frozen=True)
class TrainedRegions:
    """What a trained region encoder needs besides its weights.

    Attributes:
        network: sizes.
        channels: of each feature map that it reads.
    """

    network: RegionEncoderSettings
    channels: tuple[int, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `asdict` gave.

        Raises:
            V2LError: an unknown key, or a value of the wrong type or out of its range.
        """
        sizes = section_from_dict(RegionEncoderSettings, values["network"], "network")
        return cls(sizes, tuple(values["channels"]))


class Regions(NamedTuple):
    """The regions of one image, the best first; on the CPU."""

    boxes: Tensor  # (N, 4) float32, in shares of the image's sides
    scores: Tensor  # (N, words) float32, cosines of the words
    rows: Tensor  # (N, words) int64, rows of the codebook


class RegionTokenizer(PlacedWordsTokenizer):
    """Images ──► words of regions, each token a word with the box of its region.

    Args:
        settings: which proposals become regions.
        namer: gives the words; None is the one that ships.
        trained: of a trained region encoder; None needs no training.

    Example:
        >>> import v2l
        >>> tokenizer = v2l.load_tokenizer("groma")
        >>> tokenizer.use_boxes([(10, 10, 100, 120)])
        >>> tokens = tokenizer.encode(v2l.load_image("data/samples/shoes/boots.jpg")[None])
        >>> len(tokens.strings())
        1
    """

    NAME = "groma"
    WRITES_ALL = True

    def __init__(
        self,
        settings: RegionSettings | None = None,
        namer: WordTagger | None = None,
        trained: TrainedRegions | None = None,
    ) -> None:
        super().__init__(namer)
        self.choice, self.trained = settings or RegionSettings(), trained
        self.network = None if trained is None else RegionEncoder(trained.network, trained.channels)
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

    def token_words(self, tokens: VisualTokens, image: int = 0) -> tuple[str, ...]:
        """The words, each behind the name of its region."""
        return tuple(f"{word.name} {word.word}" for word in self.placed_words(tokens, image))

    def settings(self) -> dict[str, Any]:
        """The numbers, and where the words come from."""
        trained = {} if self.trained is None else {"trained": asdict(self.trained)}
        return {**super().settings(), "regions": asdict(self.choice), **trained}

    def describe(self) -> dict[str, str]:
        """As of every tokenizer of placed words, and whether the region encoder is trained."""
        return {**super().describe(), "region_encoder": "frozen" if self.trained is None else "trained"}

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        """The tokenizer of a manifest, before the weights of a trained region encoder are loaded."""
        values = manifest.get("trained")
        trained = None if values is None else TrainedRegions.from_dict(values)
        return cls(RegionSettings(**manifest["regions"]), load_tagger(manifest["words"], folder), trained)

    @torch.inference_mode()
    def vectors(self, image: Tensor, boxes: Tensor) -> Tensor:
        """The vectors of boxes by one pass over the image.

        Args:
            image: (3, H, W) float32 in [0, 1].
            boxes: (N, 4) in shares of the image's sides.

        Returns:
            (N, D) float32 of unit length.

        Raises:
            V2LError: the encoder has no features of patches.
        """
        encoder, boxes = self.joint_encoder, boxes.to(self.device)
        if self.network is None:
            (level,) = read_levels(encoder, image)
            return encoder.to_joint_space(mean_of_boxes(level, boxes))
        sizes = self.network.settings
        levels = read_levels(encoder, image, sizes.levels)
        grids = [align(level, boxes, sizes.pooled) for level in levels]
        return encoder.to_joint_space(self.network(grids, boxes))

    def _regions(self, image: Tensor) -> Regions:
        """The regions of an image (3, H, W): a user's, a detector's or windows."""
        choice, few_crops = self.choice, self.network is None
        if self.boxes:
            boxes = boxes_in_shares(self.boxes, (image.shape[-2], image.shape[-1]))
            return self._read(image, boxes, few_crops)
        if choice.detector:
            proposed = self.detector.propose(image)
            kept = proposed.best(choice.overlap, choice.least_score, choice.most)
            return self._united(self._read(image, proposed.boxes[kept], few_crops))
        found = self._read(image, torch.tensor(windows()), choice.crops)
        scored = ScoredBoxes(found.boxes, found.scores[:, 0].clamp(0, 1))
        kept = scored.best(choice.overlap, choice.least_score)
        return self._united(Regions(found.boxes[kept], found.scores[kept], found.rows[kept]))

    def _read(self, image: Tensor, boxes: Tensor, crops: bool) -> Regions:
        """Boxes (N, 4) of an image, each with the words of its crop, or of one pass over the image."""
        if crops:
            vectors = encode_boxes(self.joint_encoder, image, [_box(corners) for corners in boxes.tolist()])
        else:
            vectors = self.vectors(image, boxes)
        scores, rows = self.namer.nearest(vectors, self.choice.words)
        return Regions(boxes, scores.cpu(), rows.cpu())

    def _united(self, regions: Regions) -> Regions:
        """The regions with those of one word that lie on each other as one, in the box around them.

        A region takes the boxes after it, which are worse, one by one; its word and its place in the order
        are those of its best box.
        """
        families = [self.namer.codebook.families[row] for row in regions.rows[:, 0].tolist()]
        kept: list[int] = []
        boxes = regions.boxes.clone()
        for number, name in enumerate(families):
            same = [
                other
                for other in kept
                if families[other] == name and share_covered(boxes[other], boxes[number]) > COVERED
            ]
            if same:
                boxes[same[0]] = box_around(boxes[same[0]], boxes[number])
            else:
                kept.append(number)
        first = kept[: self.choice.most]
        return Regions(boxes[first], regions.scores[first], regions.rows[first])


def _box(corners: Sequence[float]) -> Box:
    left, top, right, bottom = corners
    return left, top, right, bottom

"""--box, --boxes and --detector ──► the regions of a tokenizer that has regions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.pipeline.pipeline import Pipeline

Box = Annotated[
    list[str] | None,
    typer.Option("--box", help="groma: a region of your own in pixels; many times.", metavar="X1,Y1,X2,Y2"),
]
BoxFile = Annotated[
    Path | None,
    typer.Option("--boxes", help="groma: regions of your own, a JSON list of boxes.", metavar="FILE.json"),
]
DetectorName = Annotated[
    str | None,
    typer.Option(
        "--detector",
        help="groma: proposals of an object-detection model of transformers, a folder or a hub name.",
        metavar="NAME",
    ),
]


@dataclass(frozen=True)
class RegionOptions:
    """The options of commands that read regions; each field is the option of its name."""

    box: Box = None
    boxes: BoxFile = None
    detector: DetectorName = None

    def apply(self, pipeline: Pipeline) -> Pipeline:
        """The same pipeline, whose tokenizer takes these regions.

        Raises:
            V2LError: the tokenizer has no regions, or the boxes are malformed or too many.
        """
        if not (self.box or self.boxes or self.detector):
            return pipeline
        from v2l.tokenizers.needs import refusal
        from v2l.tokenizers.regions.boxes import MOST, read_box, read_boxes
        from v2l.tokenizers.regions.model import RegionTokenizer

        tokenizer = pipeline.tokenizer
        if not isinstance(tokenizer, RegionTokenizer):
            raise refusal(tokenizer.NAME, "regions", "--box, --boxes or --detector")
        boxes = [read_box(text) for text in self.box or ()]
        if self.boxes is not None:
            boxes += read_boxes(self.boxes)
        if len(boxes) > MOST:
            raise V2LError(f"got {len(boxes):,} boxes", f"at most {MOST} boxes an image")
        tokenizer.use_boxes(boxes)
        if self.detector is not None:
            tokenizer.use_detector(self.detector)
        return pipeline

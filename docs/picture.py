"""sample photographs ──► docs/picture.png, the picture at the top of README.

    python docs/picture.py

Row one: words and reconstructions. Row two: few-shot classification. Row three: a restoration that works,
and one that fails.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import v2l
from v2l.datasets import Episode, LabelledImage
from v2l.drawings import image_grid
from v2l.images import load_image, save_image
from v2l.masks import box_mask
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.classification.fewshot import evaluate_fewshot
from v2l.tasks.restoration.inpaint import MID_GREY
from v2l.tasks.restoration.tiles import inpaint_tiles

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "data" / "samples"
CELL = 250
Row = tuple[list[Tensor], list[str]]


def reconstructions(pipeline: Pipeline, *names: str) -> Row:
    """Each photograph with its words, beside what is decoded from its local words."""
    images, labels = [], []
    for name in names:
        photograph = load_image(SAMPLES / name)
        found = ", ".join(word.word for word in v2l.words(photograph, count=4, pipeline=pipeline))
        height, width = photograph.shape[-2:]
        images += [photograph, v2l.reconstruct(photograph, pipeline=pipeline)]
        labels += [
            f"words: {found}",
            f"decoded from {round(height / 8) * round(width / 8):,} local words at {width} x {height} pixels",
        ]
    return images, labels


def classification(pipeline: Pipeline, support: dict[str, str], *queries: str) -> Row:
    """Labelled photographs, one a class, then photographs with the label that the LLM chose."""
    shots = tuple(LabelledImage(SAMPLES / name, label) for name, label in support.items())
    episodes = [Episode(shots, LabelledImage(SAMPLES / name, name.split("/")[0])) for name in queries]
    result = evaluate_fewshot(pipeline, episodes)
    labels = [f"example: {label}" for label in support.values()]
    for prediction in result.predictions:
        verdict = "right" if prediction.right else f"wrong, it is {prediction.truth}"
        labels.append(f"query: the LLM answers {prediction.label} ({verdict})")
    return [load_image(SAMPLES / name) for name in (*support, *queries)], labels


def restorations(pipeline: Pipeline, *cases: tuple[str, tuple[int, int, int, int], str]) -> Row:
    """Each photograph with its hole, beside what fills it; a case is a name, a box and a caption."""
    images: list[Tensor] = []
    labels: list[str] = []
    for name, box, caption in cases:
        photograph = load_image(SAMPLES / name)
        mask = box_mask(box, (photograph.shape[-2], photograph.shape[-1]))
        images += [torch.where(mask, MID_GREY, photograph), inpaint_tiles(pipeline, photograph, mask).image]
        labels += ["masked: the grey box", caption]
    return images, labels


def main() -> None:
    """Draw all rows and write the picture."""
    pipeline = v2l.load()
    rows = [
        reconstructions(pipeline, "shoes/boots.jpg", "pants/patched.jpg"),
        classification(
            pipeline,
            {"hat/straw.jpg": "hat", "shoes/lace-up.jpg": "shoes"},
            "hat/butterfly.jpg",
            "shoes/sandals.jpg",
        ),
        restorations(
            pipeline,
            ("pants/jeans.jpg", (85, 60, 135, 110), "predicted by the LLM: the cloth continues"),
            ("pants/tartan.jpg", (70, 80, 130, 150), "fails: neither the pattern nor the shape continues"),
        ),
    ]
    page = image_grid([images for images, _ in rows], [labels for _, labels in rows], cell=CELL)
    save_image(page, ROOT / "docs" / "picture.png")


if __name__ == "__main__":
    main()

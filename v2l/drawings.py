"""images, labels, outlines ──► pictures for people, (3, H, W) in [0, 1], drawn by Pillow."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from v2l.images import from_pillow, resize, to_pillow
from v2l.tokens import Outline

COLOURED = 64  # borders at most that have colours; a finer grid is drawn in black
COLOURS = (
    "#b00020",
    "#0050b0",
    "#00703c",
    "#7a3fa0",
    "#a05000",
    "#006070",
    "#5a5a00",
    "#a0206a",
)  # of borders


def image_grid(rows: Sequence[Sequence[Tensor]], labels: Sequence[Sequence[str]], cell: int = 160) -> Tensor:
    """A page of pictures for people: (3, H, W), white, each image fitted into a square with its label below.

    Args:
        rows: the images, row by row.
        labels: as many strings, row by row; long lines are wrapped.
        cell: side of the squares, in pixels.
    """
    margin, line = 8, 15
    font = ImageFont.load_default(size=12)
    wrapped = [
        [
            [line for part in label.splitlines() for line in textwrap.wrap(part, width=cell // 7)]
            for label in row
        ]
        for row in labels
    ]
    heights = [cell + line * max(map(len, row), default=0) + margin for row in wrapped]
    page = Image.new("RGB", (margin + max(map(len, rows)) * (cell + margin), margin + sum(heights)), "white")
    draw = ImageDraw.Draw(page)
    top = margin
    for images, texts, height in zip(rows, wrapped, heights, strict=True):
        for column, (image, lines) in enumerate(zip(images, texts, strict=True)):
            left = margin + column * (cell + margin)
            page.paste(ImageOps.pad(to_pillow(image), (cell, cell), color="white"), (left, top))
            draw.multiline_text(
                (left, top + cell + 1), "\n".join(lines), fill="black", font=font, spacing=line - 12
            )
        top += height
    return from_pillow(page)


def draw_outlines(
    image: Tensor, outlines: Sequence[Outline], words: Sequence[str], longest: int = 768
) -> Tensor:
    """An image with the border and the word of each token: (3, H', W') in [0, 1], for people.

    Tokens with the same outline share one label. A label that would cover another is moved down.

    Args:
        image: (3, H, W) in [0, 1]; it is resized so that its longer side has `longest` pixels.
        outlines: one for each token, in shares of the image's sides; empty if the tokens have no place in the
            image.
        words: one for each token; without outlines they are written into the top left corner.
        longest: pixels.
    """
    scale = longest / max(image.shape[-2:])
    height, width = (max(1, round(side * scale)) for side in image.shape[-2:])
    picture = to_pillow(resize(image, (height, width)))
    labels: dict[Outline, list[str]] = {}
    for outline, word in zip(outlines or [Outline((), (0.0, 0.0))] * len(words), words, strict=False):
        labels.setdefault(outline, []).extend([word] if word else [])
    page = _LabelledPage(ImageDraw.Draw(picture), (width, height))
    is_fine = len(labels) > COLOURED
    for number, outline in enumerate(labels):
        page.draw_border(outline, "black" if is_fine else COLOURS[number % len(COLOURS)])
    for number, (outline, names) in enumerate(labels.items()):
        if is_fine:
            page.write_small(outline, ", ".join(names))
        elif names:
            page.write_label(outline, ", ".join(names), COLOURS[number % len(COLOURS)])
    return from_pillow(picture)


@dataclass
class _LabelledPage:
    """A picture on which borders and labels are drawn.

    Attributes:
        draw: Pillow's pen.
        size: (width, height) of the picture in pixels.
        taken: the rectangles (left, top, right, bottom) of the labels so far.
    """

    draw: ImageDraw.ImageDraw
    size: tuple[int, int]
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def draw_border(self, outline: Outline, colour: str) -> None:
        """Lines in white under the colour, so that they are visible on any image."""
        width, height = self.size
        for x0, y0, x1, y1 in outline.segments:
            line = (x0 * width, y0 * height, x1 * width, y1 * height)
            self.draw.line(line, fill="white", width=5)
            self.draw.line(line, fill=colour, width=3)

    def write_small(self, outline: Outline, text: str) -> None:
        """A word inside a small cell, without a background."""
        place = outline.anchor[0] * self.size[0] + 2, outline.anchor[1] * self.size[1] + 1
        font = ImageFont.load_default(size=11)
        self.draw.text(place, text, fill="white", font=font, stroke_width=1, stroke_fill="black")

    def write_label(self, outline: Outline, text: str, colour: str) -> None:
        """A label of the border's colour, at its anchor or at the next free place below."""
        font = ImageFont.load_default(size=14)
        wrapped = textwrap.fill(text, width=max(12, self.size[0] // 8))
        right, bottom = self.draw.multiline_textbbox((0, 0), wrapped, font=font)[2:]
        width, height = right + 6, bottom + 6
        left = min(outline.anchor[0] * self.size[0] + 3, max(0.0, self.size[0] - width))
        top = min(outline.anchor[1] * self.size[1] + 3, max(0.0, self.size[1] - height))
        for place in [top, *range(int(top), self.size[1] - int(height), 4), *range(0, int(top), 4)]:
            label = (left, float(place), left + width, place + height)
            if not any(_overlap(label, other) for other in self.taken):
                break
        else:
            label = (left, top, left + width, top + height)  # there is no free place
        self.taken.append(label)
        self.draw.rectangle(label, fill=colour, outline="white")
        self.draw.multiline_text((label[0] + 3, label[1] + 2), wrapped, fill="white", font=font)


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two rectangles (left, top, right, bottom) have a common area."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

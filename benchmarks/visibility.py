"""claim: no ordinary photograph, icon, sketch or page of text gets the note "little to see"; empty images do.

python benchmarks/visibility.py PLACE [PLACE ...] [--icons PLACE] [--seed 1] [--each 200] [--show page.png]

Photographs come from the places, and their edges (Canny) are sketches of real things. Drawings, pages of text
and empty images are drawn from the seed. The view is that of the joint encoder. The thresholds of
`v2l/visibility.py` were chosen with seed 0 on BSDS500; the figures in docs/visibility.md are of seed 1 and of other
photographs.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from v2l.drawings import image_grid
from v2l.encoders import JointEncoder, load_encoder
from v2l.images import load_image, save_image
from v2l.metrics import Proportion
from v2l.sources import find_images
from v2l.visibility import Visibility, measure_visibility

WORDS = (
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "seven",
    "wizards",
    "draw",
    "of",
    "jugs",
)
REASONS = ("size", "shape", "content")
Draw = Callable[[Random], Image.Image]


@dataclass
class Counts:
    """The notes of one set of images.

    Attributes:
        name: of the set.
        n: how many images it has.
        reasons: how many got a note, by the reason.
        least: the smallest share of pixels with detail among its images.
        noted: the first few images with a note, each with what is said of it.
    """

    name: str
    n: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    least: float = 1.0
    noted: list[tuple[Tensor, str]] = field(default_factory=list)

    def add(self, image: Tensor, visibility: Visibility, label: str) -> None:
        """Count one image."""
        self.n += 1
        self.least = min(self.least, visibility.detail)
        reason = next((name for name in REASONS if getattr(visibility, f"{name}_reason")), None)
        if reason is not None:
            self.reasons[reason] += 1
            if len(self.noted) < 48:
                self.noted.append((image, f"{label}: {reason} {visibility.detail:.3%}"))

    def line(self) -> str:
        """A row of the table."""
        share = Proportion(self.reasons.total(), self.n)
        low, high = (100 * bound for bound in share.interval)
        cells = (self.name, self.n, *(self.reasons[reason] for reason in REASONS))
        return f"| {' | '.join(map(str, cells))} | {100 * share.value:.1f} ({low:.1f} to {high:.1f}) | {self.least:.3%} |"


def tensor_of(picture: Image.Image) -> Tensor:
    """A picture ──► (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float() / 255


def edges_of(image: Tensor) -> Tensor:
    """The edges of a photograph, black on white, as a sketch of it."""
    grey = (image.mean(dim=0) * 255).round().to(torch.uint8).numpy()
    edges = cv2.Canny(cv2.GaussianBlur(grey, (0, 0), 2), 60, 150)
    return torch.from_numpy(255 - edges).float().div(255).expand(3, -1, -1)


def strokes(draw: ImageDraw.ImageDraw, random: Random, box: tuple[float, float, float], count: int) -> None:
    """Draw lines, ellipses and curves into a square box = (left, top, side)."""
    left, top, side = box
    ink, width = (random.randint(0, 110),) * 3, random.choice((1, 1, 2, 3))

    def point() -> tuple[float, float]:
        return left + random.random() * side, top + random.random() * side

    for _ in range(count):
        kind = random.choice(("line", "ellipse", "curve"))
        if kind == "line":
            draw.line([point(), point()], fill=ink, width=width)
        elif kind == "ellipse":
            (x0, y0), (x1, y1) = point(), point()
            draw.ellipse((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=ink, width=width)
        else:
            (x0, y0), (x1, y1), (x2, y2) = point(), point(), point()
            steps = [i / 30 for i in range(31)]
            curve = [
                (
                    (1 - t) ** 2 * x0 + 2 * t * (1 - t) * x1 + t * t * x2,
                    (1 - t) ** 2 * y0 + 2 * t * (1 - t) * y1 + t * t * y2,
                )
                for t in steps
            ]
            draw.line(curve, fill=ink, width=width)


def paper(random: Random, least: int = 300, most: int = 1400) -> Image.Image:
    """A white sheet."""
    return Image.new("RGB", (random.randint(least, most), random.randint(least, most)), "white")


def line_drawing(random: Random) -> Image.Image:
    """A few thin strokes over most of a white sheet."""
    sheet = paper(random)
    side = 0.8 * min(sheet.size)
    strokes(
        ImageDraw.Draw(sheet),
        random,
        ((sheet.width - side) / 2, (sheet.height - side) / 2, side),
        random.randint(3, 9),
    )
    return sheet


def small_drawing(share: float) -> Draw:
    """A drawing in the middle of a white sheet, as wide as this share of the shorter side."""

    def draw(random: Random) -> Image.Image:
        sheet = paper(random)
        side = share * min(sheet.size)
        box = ((sheet.width - side) / 2, (sheet.height - side) / 2, side)
        strokes(ImageDraw.Draw(sheet), random, box, random.randint(3, 6))
        return sheet

    return draw


def handwriting(random: Random) -> Image.Image:
    """One to four lines of loops, as of a pen."""
    sheet = paper(random)
    draw, ink = ImageDraw.Draw(sheet), (random.randint(0, 90), random.randint(0, 90), random.randint(0, 160))
    height = min(sheet.size) * random.uniform(0.03, 0.08)
    for number in range(random.randint(1, 4)):
        base = sheet.height / 2 + (number - 1) * 2.2 * height
        x, phase, pen = sheet.width * 0.15, random.random() * 6, []
        while x < sheet.width * 0.85:
            phase += random.uniform(0.2, 0.6)
            x += random.uniform(0.0, 0.12) * height
            pen.append(
                (
                    x + 0.3 * height * math.cos(phase),
                    base + 0.5 * height * math.sin(phase) * random.uniform(0.6, 1),
                )
            )
        draw.line(pen, fill=ink, width=random.choice((1, 2, 3)))
    return sheet


def text_page(random: Random) -> Image.Image:
    """A page of 1 to 40 lines of printed text, the first in the upper half of the central square."""
    sheet = Image.new("RGB", (850, 1200), (random.randint(235, 255),) * 3)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=random.randint(12, 28))
    lines = [" ".join(random.choices(WORDS, k=random.randint(3, 9))) for _ in range(random.randint(1, 40))]
    for number, line in enumerate(lines):
        draw.text((90, 350 + number * 1.5 * font.size), line, fill=(random.randint(0, 80),) * 3, font=font)
    return sheet


def icon(random: Random) -> Image.Image:
    """A simple shape or a letter on a plain or a transparent ground, 16 to 64 pixels."""
    side = random.choice((16, 32, 48, 64))
    ground = random.choice(("white", "black", "steelblue", "gold", "whitesmoke"))
    picture = Image.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(picture)
    colour = tuple(random.randint(0, 255) for _ in range(3))
    if sum(abs(a - b) for a, b in zip(colour, picture.getpixel((0, 0)), strict=True)) < 90:
        colour = (120, 120, 120)
    kind, inset, width = (
        random.choice(("disc", "ring", "bar", "letter", "cross")),
        side // 5,
        max(1, side // 16),
    )
    box = (inset, inset, side - inset, side - inset)
    if kind == "disc":
        draw.ellipse(box, fill=colour)
    elif kind == "ring":
        draw.ellipse(box, outline=colour, width=width)
    elif kind == "bar":
        draw.rectangle((inset, side // 2, side - inset, side // 2 + width), fill=colour)
    elif kind == "letter":
        font = ImageFont.load_default(size=side * 0.7)
        draw.text((inset, inset // 2), random.choice("ABCxyz?!&"), fill=colour, font=font)
    else:
        draw.line(box, fill=colour, width=width)
        draw.line((box[0], box[3], box[2], box[1]), fill=colour, width=width)
    return picture


def plain(random: Random) -> Image.Image:
    """One colour."""
    return Image.new(
        "RGB", (random.randint(8, 900), random.randint(200, 900)), tuple(random.choices(range(256), k=3))
    )


def noisy(deviation: float) -> Draw:
    """One colour with Gaussian noise of this standard deviation in each channel, of 255."""

    def draw(random: Random) -> Image.Image:
        generator = np.random.default_rng(random.randrange(1 << 32))
        colour = generator.integers(20, 236, 3)
        noise = generator.normal(0, deviation, (random.randint(200, 500), random.randint(200, 500), 3))
        return Image.fromarray((colour + noise).round().clip(0, 255).astype(np.uint8))

    return draw


def gradient(random: Random) -> Image.Image:
    """An even gradient between two colours in any direction."""
    angle, side = random.random() * 2 * math.pi, random.randint(100, 700)
    axis = np.linspace(-1, 1, side)
    plane = axis[None] * math.cos(angle) + axis[:, None] * math.sin(angle)
    first, second = (np.array(random.choices(range(256), k=3), dtype=float) for _ in range(2))
    share = (plane - plane.min()) / (plane.max() - plane.min())
    return Image.fromarray((first + share[..., None] * (second - first)).round().astype(np.uint8))


def transparent(random: Random) -> Image.Image:
    """A white drawing on transparent ground, laid over white as `load_image` does."""
    side = random.randint(16, 512)
    picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse((side // 4, side // 4, side // 2, side // 2), fill="white")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)


def sliver(random: Random) -> Image.Image:
    """Random pixels, one side more than 8 times the other."""
    shorter = random.randint(1, 60)
    size = (shorter, shorter * random.randint(9, 60))
    generator = np.random.default_rng(random.randrange(1 << 32))
    return Image.fromarray(generator.integers(0, 256, (*random.sample(size, 2), 3), dtype=np.uint8))


def dust(random: Random) -> Image.Image:
    """Random pixels, 1 to 7 on a side."""
    generator = np.random.default_rng(random.randrange(1 << 32))
    return Image.fromarray(
        generator.integers(0, 256, (random.randint(1, 7), random.randint(1, 7), 3), dtype=np.uint8)
    )


ORDINARY: dict[str, Draw] = {
    "drawn icons, 16 to 64 px": icon,
    "line drawings": line_drawing,
    "drawings of 10 % of the side": small_drawing(0.1),
    "drawings of 3 % of the side": small_drawing(0.03),
    "handwriting": handwriting,
    "pages of text": text_page,
}
EMPTY: dict[str, Draw] = {
    "1 to 7 px": dust,
    "slivers beyond 8:1": sliver,
    "one colour": plain,
    "one colour, noise of 2": noisy(2),
    "one colour, noise of 4": noisy(4),
    "one colour, noise of 8": noisy(8),
    "even gradients": gradient,
    "white on transparent": transparent,
}


def count(name: str, images: Iterable[tuple[Tensor, str]], encoder: JointEncoder) -> Counts:
    """The notes of one set."""
    counts = Counts(name)
    for image, label in images:
        counts.add(image, measure_visibility(image, encoder.prepare(image)), label)
    print(counts.line(), flush=True)
    return counts


def drawn(draw: Draw, name: str, seed: int, number: int) -> Iterator[tuple[Tensor, str]]:
    """Images of one kind; each depends on the seed and its number alone."""
    for index in range(number):
        yield tensor_of(draw(Random(f"{seed}/{name}/{index}"))), f"{name} {index}"


def photographs(place: str, most: int | None, seed: int) -> Iterator[tuple[Tensor, str]]:
    """The images of a place, or so many of them."""
    found = find_images(place)
    chosen = found if most is None or most >= len(found) else Random(seed).sample(found, most)
    for file in chosen:
        yield load_image(file), file.name


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="*", default=["data/samples"], help="photographs")
    parser.add_argument("--icons", action="append", default=[], help="a place of icons")
    parser.add_argument("--most", type=int, help="images of a place; all by default")
    parser.add_argument("--each", type=int, default=200, help="images of each drawn set")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--encoder", default="conse")
    parser.add_argument("--show", type=Path, help="write a page of the ordinary images that get a note")
    given = parser.parse_args()
    encoder = load_encoder(given.encoder, "cpu")
    print(f"seed {given.seed}, the view of {given.encoder}\n")
    print(
        "| set | n | size | shape | content | notes, % (95 %) | least detail |\n|:--|--:|--:|--:|--:|--:|--:|"
    )
    ordinary = []
    for place in given.places:
        ordinary.append(
            count(f"photographs, {Path(place).name}", photographs(place, given.most, given.seed), encoder)
        )
        edges = (
            (edges_of(image), name)
            for image, name in photographs(place, given.most or given.each, given.seed)
        )
        ordinary.append(count(f"edges, {Path(place).name}", edges, encoder))
    ordinary += [
        count(f"icons, {Path(place).name}", photographs(place, given.most, given.seed), encoder)
        for place in given.icons
    ]
    for name, draw in ORDINARY.items():
        ordinary.append(count(name, drawn(draw, name, given.seed, given.each), encoder))
    total = Counts(
        "**ordinary, all**", sum(c.n for c in ordinary), sum((c.reasons for c in ordinary), Counter())
    )
    total.least = min(c.least for c in ordinary)
    print(total.line())
    for name, draw in EMPTY.items():
        count(name, drawn(draw, name, given.seed, given.each), encoder)
    shown = [pair for counts in ordinary for pair in counts.noted]
    if given.show is not None and shown:
        rows = [shown[start : start + 8] for start in range(0, len(shown), 8)]
        page = image_grid(
            [[image for image, _ in row] for row in rows], [[label for _, label in row] for row in rows]
        )
        save_image(page, given.show)


if __name__ == "__main__":
    main()

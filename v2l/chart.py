"""points and curves ──► a chart for people, (3, H, W) in [0, 1], drawn by Pillow.

It is drawn at twice its size and made smaller, because Pillow's lines have no smooth edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from v2l.images import decode_image

FINE = 2  # drawn pixels of each pixel
WIDTH, HEIGHT = 560, 400  # of one panel
LEFT, RIGHT, TOP, BOTTOM = 66, 120, 44, 52  # margins of a panel; names stand in the right one
COLOURS = ("#c1272d", "#1f5fa8", "#2e8540", "#8a5a00", "#6b3fa0", "#00838f", "#555555", "#d17b00", "#b0457b")
DOT = 6  # radius of a single point in pixels
NAME = 15  # height of a name in pixels
MOST_OCTAVES = 4  # with two ticks each; a wider axis has one
INK, GRID = "#222222", "#dddddd"
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Series:
    """One curve, or one point.

    Attributes:
        name: written at its last point.
        points: (x, y, half of y's interval), x above 0, in the order in which they are joined.
    """

    name: str
    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One pair of axes; x is logarithmic.

    Attributes:
        title: above it.
        x_label: below it.
        series: in the order of the colours.
    """

    title: str
    x_label: str
    series: tuple[Series, ...]

    @property
    def bounds(self) -> Box:
        """Smallest and largest log2 x and y (left, bottom, right, top), with some room around them."""
        points = [point for series in self.series for point in series.points]
        xs = [math.log2(x) for x, _, _ in points]
        ys = [y + sign * half for _, y, half in points for sign in (-1, 1)]
        x_room, y_room = 0.06 * (max(xs) - min(xs)) + 0.1, 0.06 * (max(ys) - min(ys)) + 1e-9
        return min(xs) - x_room, min(ys) - y_room, max(xs) + x_room, max(ys) + y_room


def draw_chart(panels: Sequence[Panel]) -> Tensor:
    """Panels side by side; a single point is a large dot, several are joined by a line."""
    page = Image.new("RGB", (len(panels) * WIDTH * FINE, HEIGHT * FINE), "white")
    draw = ImageDraw.Draw(page)
    for number, panel in enumerate(panels):
        _Axes(draw, number * WIDTH * FINE, panel).draw_all()
    content = BytesIO()
    page.resize((page.width // FINE, page.height // FINE), Image.Resampling.LANCZOS).save(content, "PNG")
    return decode_image(content.getvalue())


def ticks(low: float, high: float, count: int = 7) -> list[float]:
    """Round numbers between two values, about `count` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step)
    return [place * step for place in range(first, math.floor(high / step) + 1)]


def overlap(box: Box, other: Box) -> bool:
    """Whether two boxes (left, top, right, bottom) have a point in common."""
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


class _Axes:
    """The pen of one panel."""

    def __init__(self, draw: ImageDraw.ImageDraw, offset: int, panel: Panel) -> None:
        self.draw, self.offset, self.panel = draw, offset, panel
        self.left, self.bottom, self.right, self.top = panel.bounds
        self.small, self.large = (ImageFont.load_default(size=size * FINE) for size in (11, 14))

    def place(self, log_x: float, y: float) -> tuple[float, float]:
        """Pixel of a point."""
        across = (log_x - self.left) / (self.right - self.left)
        up = (y - self.bottom) / (self.top - self.bottom)
        x = LEFT + across * (WIDTH - LEFT - RIGHT)
        return self.offset + x * FINE, (HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)) * FINE

    def draw_all(self) -> None:
        """Grid, names of the axes, and every series."""
        self._grid()
        middle = self.place((self.left + self.right) / 2, self.bottom)
        below, above = (middle[0], middle[1] + 34 * FINE), (self.offset + LEFT * FINE, 14 * FINE)
        self.draw.text(below, self.panel.x_label, fill=INK, font=self.small, anchor="mm")
        self.draw.text(above, self.panel.title, fill=INK, font=self.large)
        for number, series in self._from_the_top(single=False) + self._from_the_top(single=True):
            self._curve(series, COLOURS[number % len(COLOURS)])
        self._names()

    def _grid(self) -> None:
        for value in ticks(self.bottom, self.top):
            start, end = self.place(self.left, value), self.place(self.right, value)
            self.draw.line((*start, *end), fill=GRID, width=FINE)
            self.draw.text(
                (start[0] - 6 * FINE, start[1]), f"{value:g}", fill=INK, font=self.small, anchor="rm"
            )
        parts = 1 if self.right - self.left > MOST_OCTAVES else 2  # ticks an octave
        for tick in range(math.ceil(parts * self.left), math.floor(parts * self.right) + 1):
            start, end = (self.place(tick / parts, y) for y in (self.bottom, self.top))
            self.draw.line((*start, *end), fill=GRID, width=FINE)
            text = f"{2 ** (tick / parts):,.0f}"
            self.draw.text((start[0], start[1] + 12 * FINE), text, fill=INK, font=self.small, anchor="mm")

    def _curve(self, series: Series, colour: str) -> None:
        places = [self.place(math.log2(x), y) for x, y, _ in series.points]
        if len(places) > 1:
            self.draw.line([axis for place in places for axis in place], fill=colour, width=2 * FINE)
        radius = (4 if len(places) > 1 else DOT) * FINE
        for (x, y), (value_x, value_y, half) in zip(places, series.points, strict=True):
            ends = [self.place(math.log2(value_x), value_y + sign * half)[1] for sign in (-1, 1)]
            self.draw.line((x, ends[0], x, ends[1]), fill=colour, width=FINE)
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline="white")

    def _names(self) -> None:
        """The name of each series: a curve's beside its end, a single point's where no other name stands."""
        taken, lowest = (
            [self._dot(x, y) for series in self.panel.series for x, y, _ in series.points],
            -math.inf,
        )
        for number, series in self._from_the_top(single=False):
            x, y = self._last(series)
            lowest = max(y, lowest + NAME * FINE)  # below the name above it
            place = (x + 11 * FINE, lowest)
            taken.append(self.draw.textbbox(place, series.name, self.small, "lm"))
            self._name(number, series, place, "lm")
        for number, series in self._from_the_top(single=True):
            place, anchor = self._free_place(series, taken)
            taken.append(self.draw.textbbox(place, series.name, self.small, anchor))
            self._name(number, series, place, anchor)

    def _dot(self, x: float, y: float) -> Box:
        """What a point covers."""
        (across, down), radius = self.place(math.log2(x), y), DOT * FINE
        return across - radius, down - radius, across + radius, down + radius

    def _free_place(self, series: Series, taken: Sequence[Box]) -> tuple[tuple[float, float], str]:
        """Where the name of a single point covers no dot and no name, and its anchor; above if nowhere."""
        (x, y), away = self._last(series), 9 * FINE
        choices = [((x, y - away), "mb"), ((x, y + away), "mt"), ((x + away, y), "lm"), ((x - away, y), "rm")]
        for place, anchor in choices:
            box = self.draw.textbbox(place, series.name, self.small, anchor)
            inside = self.offset <= box[0] and box[2] <= self.offset + WIDTH * FINE
            if inside and not any(overlap(box, other) for other in taken):
                return place, anchor
        return choices[0]

    def _last(self, series: Series) -> tuple[float, float]:
        x, y, _ = series.points[-1]
        return self.place(math.log2(x), y)

    def _name(self, number: int, series: Series, place: tuple[float, float], anchor: str) -> None:
        colour = COLOURS[number % len(COLOURS)]
        font, width = self.small, 2 * FINE
        self.draw.text(place, series.name, colour, font, anchor, stroke_width=width, stroke_fill="white")

    def _from_the_top(self, single: bool) -> list[tuple[int, Series]]:
        """The series that are single points, or those that are not, with their numbers, highest end first."""
        chosen = [pair for pair in enumerate(self.panel.series) if (len(pair[1].points) == 1) == single]
        return sorted(chosen, key=lambda pair: -pair[1].points[-1][1])

"""rows of figures ──► a table that people read, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: the first to the left, the others, figures, to the right.

    Args:
        head: names of the columns.
        rows: cells, as many a row as there are columns.
    """
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(row, widths) for row in (head, rule, *rows))


def figure_text(figure: Mapping[str, Any], signed: bool = False) -> str:
    """A figure of a report with its interval: "0.396 (0.378 to 0.413)"; with signs for a difference."""
    sign, (low, high) = "+" if signed else "", figure["interval"]
    return f"{figure['value']:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        f"{cell:{'<' if column == 0 else '>'}{width}}"
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "| " + " | ".join([first, *others]) + " |"

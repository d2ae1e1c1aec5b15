"""measured tokenizers ──► one object for programs, one Markdown table, one plot of rate and distortion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from v2l.chart import Panel, Series, draw_chart
from v2l.evaluation.reconstruction_report import FD, MIN_PHOTOGRAPHS
from v2l.evaluation.table import markdown_table
from v2l.evaluation.tokenizers import TokenizersResult
from v2l.metrics import Mean, Proportion

MEANS = ("psnr", "ssim", "perceptual", "bytes")
HEAD = (
    "bytes",
    "PSNR RGB, dB",
    "SSIM",
    "{distance}",
    FD,
    "same class",
    "codes in use",
    "bits",
    "images/s",
    "M weights",
)


def report(result: TokenizersResult) -> dict[str, Any]:
    """The object for programs: figures with 95 % intervals, by row."""
    return {
        "rows": {row: _row(result, row) for row in result.figures},
        "n": len(result.files),
        "seed": result.settings.seed,
        "crops": "shorter side to size, centre crop, 8 bits a channel; "
        "codecs at the lowest quality not below the bytes",
        "networks": {
            "perceptual": result.distance,
            "fd_effnet": "efficientnet-lite2",
            "class": "efficientnet-lite2",
        },
        "settings": asdict(result.settings),
        "skipped": [{"image": file, "reason": reason} for file, reason in result.skipped],
        "stacks": result.stacks,
    }


def table(found: Mapping[str, Any]) -> str:
    """The figures of `report` for people, in Markdown."""
    n, size, distance = found["n"], found["settings"]["size"], found["networks"]["perceptual"]
    rows = [[name, *_cells(row)] for name, row in found["rows"].items()]
    lines = [
        f"{n:,} photographs, {size} × {size} px centre crops, mean with its 95 % interval; "
        f"{distance} and {FD}: less is better. *Same class*: the classifier names the same ImageNet class as "
        "for the original.",
        "",
        markdown_table(["", *(name.format(distance=distance) for name in HEAD)], rows),
        "",
        "A codec's bytes are those of the whole file at the lowest quality that has not fewer than its "
        "budget; shrinking has three bytes a pixel. Bytes of tokens are log2 of the reachable codes. "
        "Images a second are encoded and decoded on this machine, with frozen encoders; weights are those "
        "of the tokenizer alone.",
    ]
    if n < MIN_PHOTOGRAPHS:
        lines += ["", f"{FD} is of n = {n:,}, below {MIN_PHOTOGRAPHS:,}: compare rows of one table only."]
    return "\n".join(lines)


def chart(found: Mapping[str, Any]) -> Tensor:
    """Bytes against PSNR, and against the perceptual distance: (3, H, W) in [0, 1]."""
    distance = found["networks"]["perceptual"]
    titles = {"psnr": "PSNR, dB (more is better)", "perceptual": f"{distance} (less is better)"}
    label = (
        f"bytes an image, mean of {found['n']:,} photographs of {found['settings']['size']} px; bars: 95 %"
    )
    return draw_chart(
        [Panel(title, label, tuple(_series(found["rows"], figure))) for figure, title in titles.items()]
    )


def _series(rows: Mapping[str, Any], figure: str) -> list[Series]:
    """One point a tokenizer, one curve a codec."""
    points: dict[str, list[tuple[float, float, float]]] = {}
    for name, row in rows.items():
        value, interval = row[figure]["value"], row[figure]["interval"]
        half = (interval[1] - interval[0]) / 2 if interval else 0.0
        method = name if "usage" in row else name.rsplit(" at ", 1)[0]
        points.setdefault(method, []).append((row["bytes"]["value"], value, half))
    return [Series(name, tuple(sorted(own))) for name, own in points.items()]


def _row(result: TokenizersResult, row: str) -> dict[str, Any]:
    samples = result.figures[row]
    same = samples["same_class"]
    found: dict[str, Any] = {name: Mean.of(samples[name]).to_dict() for name in MEANS}
    found["fd_effnet"] = {"value": result.frechet[row], "interval": None}
    found["same_class"] = Proportion(int(sum(same)), len(same)).to_dict()
    if row in result.usage:
        tokens, bits = result.tokens[row]
        found |= {
            "usage": result.usage[row].to_dict(),
            "tokens": tokens,
            "bits": bits,
            "images_per_second": len(result.files) / result.seconds[row],
            "parameters": result.parameters[row],
        }
    return found


def _cells(row: Mapping[str, Any]) -> list[str]:
    figures = [
        f"{row['bytes']['value']:,.0f}",
        *(_text(row[name]) for name in MEANS[:3]),
        f"{row['fd_effnet']['value']:.1f}",
        _text(row["same_class"]),
    ]
    if "usage" not in row:
        return [*figures, "", "", "", ""]
    usage = row["usage"]
    return [
        *figures,
        f"{usage['used']:,} of {usage['of']:,}",
        f"{row['bits']:,.0f}",
        f"{row['images_per_second']:.1f}",
        f"{row['parameters'] / 1e6:.1f}",
    ]


def _text(figure: Mapping[str, Any]) -> str:
    """A figure with its interval."""
    digits = 2 if abs(figure["value"]) >= 1 else 3
    low, high = figure["interval"]
    return f"{figure['value']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"

"""a measured reconstruction ──► its report: one object for programs, Markdown tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from v2l.evaluation.reconstruction import ReconstructionResult
from v2l.evaluation.reconstruction_methods import OWN, SHUFFLED, WITHOUT
from v2l.evaluation.table import markdown_table
from v2l.metrics import Mean

FD = "FD-EffNet"
# A Fréchet distance of fewer photographs is unreliable; FID with Inception's 2,048 features needs as many.
MIN_PHOTOGRAPHS = 2048
REFERENCE_CODEC = "WebP"
FIGURES = ("psnr", "psnr_y", "ssim", "perceptual")


def report(result: ReconstructionResult) -> dict[str, Any]:
    """The object for programs: figures with 95 % intervals, and their differences from WebP's."""
    rows = {row: _row(result, row) for row in result.figures}
    own = rows.pop(OWN)
    return {
        "metrics": own,
        "baselines": rows,
        "global_words": _global_words(result),
        "usage": result.usage.to_dict(),
        "cost": asdict(result.cost) | {"bytes": result.cost.total},
        "n": len(result.files),
        "seed": result.settings.seed,
        "protocol": result.settings.protocol,
        "crops": "shorter side to size, centre crop, 8 bits a channel; "
        "codecs at the lowest quality not below the bytes",
        "networks": {"perceptual": result.distance, "fd_effnet": "efficientnet-lite2"},
        "settings": asdict(result.settings),
        "skipped": [{"image": file, "reason": reason} for file, reason in result.skipped],
        "stack": result.pipeline,
    }


def page(result: ReconstructionResult) -> str:
    """The figures for people."""
    found, n = report(result), len(result.files)
    rows = {OWN: found["metrics"]} | found["baselines"]
    head = ["bytes", "PSNR RGB, dB", "PSNR Y, dB", "SSIM", result.distance, FD]
    figures = [
        [
            row,
            f"{of['bytes']['value']:.0f}",
            *(_text(of[name]) for name in FIGURES),
            f"{of['fd_effnet']['value']:.1f}",
        ]
        for row, of in rows.items()
    ]
    beside = [
        [row, *(_text(of[name]["minus_webp"], signed=True) for name in FIGURES)]
        for row, of in rows.items()
        if row != REFERENCE_CODEC
    ]
    size = result.settings.size
    lines = [
        f"{n:,} photographs, {size} × {size} px centre crops, mean with its 95 % interval; "
        f"{result.distance} and {FD}: less is better",
        "",
        markdown_table(["", *head], figures),
        "",
        f"The same photograph by photograph, less what {REFERENCE_CODEC} has:",
        "",
        markdown_table(["", *head[1:-1]], beside),
        "",
        *_remarks(result, found),
    ]
    return "\n".join(lines)


def _row(result: ReconstructionResult, row: str) -> dict[str, Any]:
    """The figures of one row."""
    samples, bar = result.figures[row], result.figures[REFERENCE_CODEC]
    figures = {
        name: Mean.of(samples[name]).to_dict() | {"minus_webp": _difference(samples, bar, name)}
        for name in FIGURES
    }
    return figures | {
        "fd_effnet": {"value": result.frechet[row], "interval": None},
        "bytes": Mean.of(samples["bytes"]).to_dict(),
    }


def _difference(
    samples: Mapping[str, list[float]], others: Mapping[str, list[float]], name: str
) -> dict[str, Any]:
    """The mean of the differences, photograph by photograph."""
    return Mean.of(
        [mine - theirs for mine, theirs in zip(samples[name], others[name], strict=True)]
    ).to_dict()


def _global_words(result: ReconstructionResult) -> dict[str, Any]:
    """The figures minus those of the controls: words of another photograph, and training without words."""
    controls = {"shuffled": SHUFFLED, "without": WITHOUT}
    own = result.figures[OWN]
    return {
        f"own_minus_{name}": {figure: _difference(own, result.figures[row], figure) for figure in FIGURES}
        for name, row in controls.items()
        if row in result.figures
    }


def _remarks(result: ReconstructionResult, found: Mapping[str, Any]) -> list[str]:
    cost, usage, n = result.cost, result.usage, len(result.files)
    lines = [
        f"Bytes of v2l: {cost.local_bytes:.1f} of {cost.local_tokens} local tokens and "
        f"{cost.global_bytes:.1f} of {cost.global_tokens} global words. {REFERENCE_CODEC} and JPEG: "
        "the lowest quality whose whole file, headers included, has as many or more.",
        f"Local words in use: {usage.used:,} of {len(usage.counts):,} reachable ({usage.share:.1%}); "
        f"entropy {usage.entropy:.2f} bits, perplexity {usage.perplexity:,.0f}.",
    ]
    for name, figures in found["global_words"].items():
        differences = ", ".join(f"{figure} {_text(figures[figure], signed=True)}" for figure in FIGURES)
        lines.append(f"Global words, {name.replace('_', ' ')}: {differences}.")
    if n < MIN_PHOTOGRAPHS:
        lines.append(
            f"{FD} is of n = {n:,}, below {MIN_PHOTOGRAPHS:,}: it is larger than that of many photographs "
            "would be; compare rows of one table only."
        )
    return lines


def _text(figure: Mapping[str, Any], signed: bool = False) -> str:
    """A figure with its interval."""
    sign = "+" if signed else ""
    digits = 2 if abs(figure["value"]) >= 1 else 4
    low, high = figure["interval"]
    return f"{figure['value']:{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"

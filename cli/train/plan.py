"""a measured plan ──► lines for people, or JSON; and which of several processes prints."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.output import Output

if TYPE_CHECKING:
    from v2l.training.plan import Plan

PlanOnly = Annotated[
    bool,
    typer.Option("--plan", help="Measure a few steps, print what the run will take, and write nothing."),
]


def show_plan(plan: Plan, images: int, steps: int, out: Output, before: str = "") -> None:
    """Print what a run of `steps` steps on `images` images will take; `before` says what comes first."""
    memory = f"{plan.peak_bytes / 1e9:.1f} GB at most" if plan.peak_bytes else "not reported by this system"
    reading = f"{plan.reading_share:.0%} of the time spent reading them"
    lines = [
        f"{images:,} images, {steps:,} steps of {plan.images_per_step}",
        f"speed    {plan.images_per_second:.1f} images a second, {reading}",
        f"memory   {memory}",
        f"time     {duration(plan.hours)}{before}",
    ]
    lines += [
        f"         {phase.steps:,} steps of {phase.seconds:.2f} s with {phase.name}" for phase in plan.phases
    ]
    if is_main_process():
        out.result({**plan.to_dict(), "images": images, "steps": steps}, "\n".join(lines))


def duration(hours: float) -> str:
    """For people."""
    return f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"


def is_main_process() -> bool:
    """Of several processes one prints."""
    return os.environ.get("RANK", "0") == "0"

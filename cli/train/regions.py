"""v2l train-groma: photographs ──► a region encoder that names boxes by one pass over the image (Groma)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from v2l.cli.options import Json, options
from v2l.cli.train.patches import Places, Run, Steps, Words, run_of, train_or_plan
from v2l.cli.train.plan import PlanOnly


def train_groma(
    ctx: typer.Context,
    places: Places,
    run: Run = Path("runs/groma"),
    words: Words = None,
    steps: Steps = None,
    plan: PlanOnly = False,
    json: Json = False,
) -> None:
    """Train the region encoder of groma; the same command goes on with a run that was stopped.

    No labels are needed: a box learns the vector of its crop. --config names a preset of configs/groma
    (small, paper) or a YAML file.
    """
    from v2l.tokenizers.regions.settings import RegionConfig
    from v2l.training.recipes.regions_run import region_recipe

    config = RegionConfig.load(options(ctx).config or "small")
    if steps is not None:
        config = replace(config, training=replace(config.training, steps=steps))
    settings = run_of(ctx, places, run, words)
    train_or_plan(
        region_recipe,
        config,
        settings,
        plan,
        json,
        lambda terms: f"distance to the crops {terms['distance']:.3f}",
    )

"""v2l train-lavit: photographs ──► a selection of patches with words (LaVIT)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from v2l.cli.options import Json, options
from v2l.cli.train.patches import Places, Run, Steps, Words, run_of, train_or_plan
from v2l.cli.train.plan import PlanOnly


def train_lavit(
    ctx: typer.Context,
    places: Places,
    run: Run = Path("runs/lavit"),
    words: Words = None,
    steps: Steps = None,
    plan: PlanOnly = False,
    json: Json = False,
) -> None:
    """Train the tokenizer lavit; the same command goes on with a run that was stopped.

    --config names a preset of configs/lavit (small, paper) or a YAML file.
    """
    from v2l.tokenizers.selection.settings import SelectionConfig
    from v2l.training.recipes.selection_run import selection_recipe

    config = SelectionConfig.load(options(ctx).config or "small")
    if steps is not None:
        config = replace(config, training=replace(config.training, steps=steps))
    settings = run_of(ctx, places, run, words)
    train_or_plan(
        selection_recipe,
        config,
        settings,
        plan,
        json,
        lambda terms: f"cosine {1 - terms['rebuilt']:.3f}, kept {terms['kept']:.0%}",
    )

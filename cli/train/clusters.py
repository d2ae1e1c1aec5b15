"""v2l train-setok: photographs ──► merged tokens of clusters, and images from them (SeTok)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from v2l.cli.options import Json, options
from v2l.cli.train.patches import Places, Run, Steps, Words, run_of, train_or_plan
from v2l.cli.train.plan import PlanOnly


def train_setok(
    ctx: typer.Context,
    places: Places,
    run: Run = Path("runs/setok"),
    words: Words = None,
    steps: Steps = None,
    plan: PlanOnly = False,
    json: Json = False,
) -> None:
    """Train merger and detokenizer of setok; the same command goes on with a run that was stopped.

    --config names a preset of configs/setok (small, quick, paper) or a YAML file.
    """
    from v2l.tokenizers.clusters.settings import ClusterConfig
    from v2l.training.recipes.clusters_run import cluster_recipe

    config = ClusterConfig.load(options(ctx).config or "small")
    if steps is not None:
        config = replace(config, training=replace(config.training, steps=steps))
    settings = run_of(ctx, places, run, words)
    train_or_plan(
        cluster_recipe,
        config,
        settings,
        plan,
        json,
        lambda terms: f"L1 {terms['l1']:.3f}, concepts {terms['concepts']:.2f}",
    )

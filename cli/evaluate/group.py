"""v2l evaluate: a verb of evaluation ──► figures with intervals, beside baselines; one verb, one file."""

from __future__ import annotations

import typer

from v2l.cli.evaluate.describe import evaluate_describe
from v2l.cli.evaluate.fewshot import evaluate_fewshot
from v2l.cli.evaluate.reconstruction import evaluate_reconstruction
from v2l.cli.evaluate.restoration import evaluate_restoration
from v2l.cli.evaluate.semantics import evaluate_semantics

VERBS = {
    "describe": evaluate_describe,
    "fewshot": evaluate_fewshot,
    "reconstruction": evaluate_reconstruction,
    "restoration": evaluate_restoration,
    "semantics": evaluate_semantics,
}

evaluate = typer.Typer(
    no_args_is_help=True, help="Measure a checkpoint: figures with 95 % intervals, beside trivial baselines."
)
for name, verb in VERBS.items():
    evaluate.command(name)(verb)

"""v2l evaluate: one command for each task ──► metrics with intervals, beside baselines."""

from __future__ import annotations

from collections.abc import Callable

import typer

from v2l.cli.evaluate.describe import evaluate_describe
from v2l.cli.evaluate.detokenizer import evaluate_detokenizer
from v2l.cli.evaluate.fewshot import evaluate_fewshot
from v2l.cli.evaluate.language import evaluate_language
from v2l.cli.evaluate.mosaics import evaluate_mosaics
from v2l.cli.evaluate.naming import evaluate_naming
from v2l.cli.evaluate.reconstruction import evaluate_reconstruction
from v2l.cli.evaluate.regions import evaluate_regions
from v2l.cli.evaluate.restoration import evaluate_restoration
from v2l.cli.evaluate.selection import evaluate_selection
from v2l.cli.evaluate.semantics import evaluate_semantics
from v2l.cli.evaluate.sets import evaluate_sets
from v2l.cli.evaluate.shared_words import evaluate_common
from v2l.cli.evaluate.tokenizers import evaluate_tokenizers
from v2l.cli.evaluate.vqa import evaluate_vqa

COMMANDS: dict[str, Callable[..., None]] = {
    "common": evaluate_common,
    "describe": evaluate_describe,
    "detokenizer": evaluate_detokenizer,
    "fewshot": evaluate_fewshot,
    "language": evaluate_language,
    "mosaics": evaluate_mosaics,
    "naming": evaluate_naming,
    "reconstruction": evaluate_reconstruction,
    "regions": evaluate_regions,
    "restoration": evaluate_restoration,
    "selection": evaluate_selection,
    "semantics": evaluate_semantics,
    "sets": evaluate_sets,
    "tokenizers": evaluate_tokenizers,
    "vqa": evaluate_vqa,
}

evaluate = typer.Typer(
    no_args_is_help=True, help="Measure a checkpoint: figures with 95 % intervals, beside trivial baselines."
)
for name, command in COMMANDS.items():
    evaluate.command(name)(command)

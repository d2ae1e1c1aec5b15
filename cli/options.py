"""global options ──► one frozen record, and the options that several commands share.

Global options go before the command or after it: `v2l --seed 1 train …` and `v2l train … --seed 1` mean the
same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from v2l.engines.engine import Engine

WITH_VALUE = ("--device", "--dtype", "--seed", "--config")
FLAGS = ("--offline", "--strict")

Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print only JSON on standard output; text for people goes to standard error."
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        "--checkpoint",
        "--adapter-in",
        help="Tokenizer: a name (v2l), or the folder or hub name of a checkpoint; v2l by default. "
        "--checkpoint is its old name; --adapter-in is the same for what v2l train-adapter wrote.",
        metavar="NAME_OR_DIR",
    ),
]
Llm = Annotated[
    str | None,
    typer.Option(
        "--llm",
        help="Frozen LLM: smollm2 (embedded), a folder, a .gguf file or a hub name; "
        "by default --config's, else the codebook's.",
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        help="own: every pixel, so tokens grow with the photograph. model: the whole photograph at the "
        "tokenizer's size, and enlarged again. By default own where the tokenizer has it.",
        metavar="own|model",
    ),
]
EngineName = Annotated[
    str,
    typer.Option("--engine", metavar="local|ray", help="Processes of this machine, or a Ray cluster."),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes or actors; by default one for each core, or for each GPU.", min=0),
]
OptionalEngine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="local|ray",
        help="Share the work among --workers processes of this machine, or actors of a Ray cluster; by "
        "default this process does it alone.",
    ),
]
Photograph = Annotated[Path, typer.Argument(metavar="IMAGE", help="Any image file that Pillow reads.")]


@dataclass(frozen=True)
class Options:
    """The values of the global options.

    Attributes:
        device: auto, cpu, cuda, cuda:0, mps.
        dtype: precision of the frozen LLM: auto, float32, bfloat16, float16.
        seed: of every random draw.
        config: a preset's name or a YAML file; None is the preset small.
    """

    device: str = "auto"
    dtype: str = "auto"
    seed: int = 0
    config: str | None = None


def options(ctx: typer.Context) -> Options:
    """The global options of a running command."""
    return ctx.ensure_object(Options)


def chosen_engine(name: str | None, workers: int | None, device: str) -> Engine | None:
    """The engine of --engine and --workers; None without both.

    Raises:
        V2LError: there is no such engine, or Ray is not installed.
    """
    if name is None and workers is None:
        return None
    from v2l.engines.engine import Engine

    return Engine(name or "local", workers, device)


def globals_first(args: Sequence[str]) -> list[str]:
    """The same arguments with all global options in front of the command; what follows `--` is not moved."""
    front: list[str] = []
    rest: list[str] = []
    remaining = iter(args)
    for arg in remaining:
        if arg == "--":
            rest += [arg, *remaining]
        elif arg in WITH_VALUE:
            front += [arg, *([value] if (value := next(remaining, None)) is not None else [])]
        elif arg in FLAGS or arg.startswith(tuple(f"{name}=" for name in WITH_VALUE)):
            front.append(arg)
        else:
            rest.append(arg)
    return front + rest


def prepare_environment(offline: bool) -> None:
    """Set environment variables for packages that are not imported yet: no network, no bars, passive threads.

    Idle OpenMP threads must sleep, because threads that spin make small models about thirty times slower as
    soon as another program needs a core.

    Args:
        offline: whether the hub may not be used.
    """
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

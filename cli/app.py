"""arguments ──► a command: the root command, its global options, and the text of failures."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from v2l.cli.classify.fewshot import fewshot_classify
from v2l.cli.codebook.build import build_codebook
from v2l.cli.codebook.group import codebook
from v2l.cli.compare.difference import difference
from v2l.cli.compare.shared_words import common
from v2l.cli.compare.story import story
from v2l.cli.convert_official import convert_official
from v2l.cli.convert_taming import convert_taming
from v2l.cli.convert_titok import convert_titok
from v2l.cli.demo import demo
from v2l.cli.describe.ask import ask
from v2l.cli.describe.caption import caption
from v2l.cli.describe.prompt import prompt
from v2l.cli.describe.vqa import vqa
from v2l.cli.detokenize import detokenize
from v2l.cli.doctor import doctor
from v2l.cli.encode import decode, encode
from v2l.cli.evaluate.group import evaluate
from v2l.cli.failures import explain
from v2l.cli.make_sets import make_sets
from v2l.cli.options import Options, globals_first, prepare_environment
from v2l.cli.output import show_left_out
from v2l.cli.reconstruct import reconstruct
from v2l.cli.restore.deblur import deblur
from v2l.cli.restore.inpaint import inpaint
from v2l.cli.restore.outpaint import outpaint
from v2l.cli.restore.unrotate import unrotate
from v2l.cli.restore.unshift import unshift
from v2l.cli.serve import serve
from v2l.cli.tokenize import tokenize
from v2l.cli.train.adapter import train_adapter
from v2l.cli.train.clusters import train_setok
from v2l.cli.train.latents import train_titok
from v2l.cli.train.lora import train_lora
from v2l.cli.train.regions import train_groma
from v2l.cli.train.restorer import train_restorer
from v2l.cli.train.selection import train_lavit
from v2l.cli.train.sets import train_sam
from v2l.cli.train.tokenizer import train
from v2l.cli.words import words

COMMANDS: dict[str, Callable[..., None]] = {
    "words": words,
    "reconstruct": reconstruct,
    "encode": encode,
    "decode": decode,
    "inpaint": inpaint,
    "outpaint": outpaint,
    "deblur": deblur,
    "unshift": unshift,
    "unrotate": unrotate,
    "fewshot-classify": fewshot_classify,
    "caption": caption,
    "vqa": vqa,
    "ask": ask,
    "prompt": prompt,
    "common": common,
    "difference": difference,
    "story": story,
    "tokenize": tokenize,
    "detokenize": detokenize,
    "build-codebook": build_codebook,
    "train": train,
    "train-lora": train_lora,
    "train-lavit": train_lavit,
    "train-titok": train_titok,
    "train-setok": train_setok,
    "train-groma": train_groma,
    "train-adapter": train_adapter,
    "train-restorer": train_restorer,
    "train-sam": train_sam,
    "make-sets": make_sets,
    "convert-official": convert_official,
    "convert-taming": convert_taming,
    "convert-titok": convert_titok,
    "serve": serve,
    "doctor": doctor,
    "demo": demo,
}
EPILOG = (
    "Global options go before or after the command. "
    "Results are printed; pictures are written to the path of -o."
)


class Root(TyperGroup):
    """The root command: global options anywhere, failures in one line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments with the global options in front."""
        return super().parse_args(ctx, globals_first(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a failure that the user can repair becomes one line and an exit code."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            failure = explain(error)
            if failure is None:
                raise
            print(f"v2l: {failure.line}", file=sys.stderr)
            raise typer.Exit(failure.exit_code) from error


app = typer.Typer(
    cls=Root, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, epilog=EPILOG
)
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(evaluate, name="evaluate")
app.add_typer(codebook, name="codebook")


def print_version(wanted: bool) -> None:
    """Print the version and exit."""
    if wanted:
        typer.echo(f"v2l {version('v2l')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0, mps.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="Precision of the frozen LLM: auto, float32, bfloat16, float16.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of every random draw.", min=0)] = 0,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Use no network; a model that is not on this machine is an error."),
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(
            help="Preset (small, paper, official, vqgan, vqgan-paper) or YAML file; small by default, "
            "and in a file that names no other with extends.",
            metavar="NAME|FILE",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="What is left out (unreadable files, other members of archives) is an error."
        ),
    ] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Images as words of a frozen large language model."""
    prepare_environment(offline)
    warnings.simplefilter("ignore")  # these come from packages; v2l itself raises errors or prints notes
    show_left_out(strict)
    ctx.obj = Options(device, dtype, seed, config)

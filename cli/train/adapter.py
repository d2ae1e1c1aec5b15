"""v2l train-adapter: images with captions or classes ──► an adapter whose soft tokens an LLM reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.failures import STOPPED
from v2l.cli.option_groups import expand_options
from v2l.cli.options import Json, Llm, Options, options
from v2l.cli.output import Output, output
from v2l.cli.progress import progress
from v2l.cli.train.plan import PlanOnly, is_main_process, show_plan

if TYPE_CHECKING:
    from v2l.training.recipes.adapter_models import AdapterModels
    from v2l.training.recipes.adapter_run import AdapterTraining

Places = Annotated[
    list[str],
    typer.Argument(
        metavar="PLACE...",
        help="Images to train on: folders with one folder a class (FOLDER@train: a part), or files of "
        "captions: .csv or .jsonl with image and caption, COCO's captions_*.json, Flickr's captions.txt.",
    ),
]
Run = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Folder of the run: states, log, pictures, the adapter in model/.",
        metavar="DIR",
    ),
]
Adapter = Annotated[
    str,
    typer.Option(
        "--adapter",
        help="resampler, Qwen-VL's; uhd, the same for LLaVA-UHD's overview and slices; projector, a small "
        "network over patches; clusters, the same over clusters of patches; sea, with SEA's alignment of "
        "patches and words.",
    ),
]
Tokens = Annotated[int, typer.Option("--tokens", help="Soft tokens an image: a square number.")]
Images = Annotated[
    Path | None,
    typer.Option("--images", help="Folder of the images that caption files name.", metavar="FOLDER"),
]
Limit = Annotated[int | None, typer.Option("--limit", help="Only so many images, drawn by --seed.", min=1)]
Steps = Annotated[int, typer.Option(help="Optimizer steps.", min=1)]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Sentences a step.", min=1)]
Rate = Annotated[float, typer.Option(help="Highest learning rate.")]
Align = Annotated[
    float | None, typer.Option("--align", help="sea: weight of the alignment loss; 0 is off.", min=0)
]
SaveEvery = Annotated[int, typer.Option(help="Steps between two saved states.", min=1)]
WatchEvery = Annotated[
    int,
    typer.Option(help="Steps between two pages of captions of images that are not trained on.", min=1),
]
Codebooks = Annotated[
    Path | None,
    typer.Option(help="What v2l build-codebook wrote; by default what ships.", metavar="DIR"),
]


@dataclass(frozen=True)
class AdapterOptions:
    """The options of the adapter and its training; each field is the option of its name."""

    adapter: Adapter = "resampler"
    tokens: Tokens = 16
    steps: Steps = 2000
    batch_size: BatchSize = 16
    rate: Rate = 1e-3
    align: Align = None
    save_every: SaveEvery = 100
    watch_every: WatchEvery = 200
    limit: Limit = None
    images: Images = None
    codebooks: Codebooks = None

    def training(self, places: list[str], run: Path, seed: int, out: Output) -> AdapterTraining:
        """The training on some places; what cannot be used of caption files is printed.

        Raises:
            V2LError: an option is not allowed, or a place gives no image.
        """
        from v2l.captions import LeftOutCaptions
        from v2l.training.recipes.adapter import AdapterRun
        from v2l.training.recipes.adapter_data import drawn, read_places
        from v2l.training.recipes.adapter_run import ALIGN, AdapterTraining

        align = (ALIGN if self.adapter == "sea" else 0.0) if self.align is None else self.align
        settings = AdapterRun(
            run,
            self.rate,
            self.steps,
            batch_size=self.batch_size,
            align=align,
            save_every=self.save_every,
            watch_every=self.watch_every,
        )
        left_out = LeftOutCaptions()
        found = drawn(read_places(places, self.images, left_out), self.limit, seed)
        if report := left_out.report():
            out.note(report)
        return AdapterTraining(self.adapter, self.tokens, found, settings, seed)


@expand_options
def train_adapter(
    ctx: typer.Context,
    places: Places,
    run: Run = Path("runs/soft-tokens"),
    plan: PlanOnly = False,
    llm: Llm = None,
    json: Json = False,
    *,
    chosen: AdapterOptions,
) -> None:
    """Train an adapter that writes an image into the frozen LLM's input embeddings.

    The same command goes on with a run that was stopped. The weights of the LLM do not change. Images
    without captions get sentences made from the names of their classes; the LLM then learns such sentences
    only.
    """
    given = options(ctx)
    with output(json) as out:
        training = chosen.training(places, run, given.seed, out)
        models = load_models(given, chosen.codebooks, llm)
        if plan:
            with progress() as report:
                measured = training.plan(models, report)
            show_plan(measured, len(training.images), chosen.steps, out)
            return
        done = run_to_the_end(training, models, out)
    if done < chosen.steps:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)


def load_models(given: Options, codebooks: Path | None, llm: str | None) -> AdapterModels:
    """Encoder, LLM and codebook.

    Raises:
        V2LError: one of them is missing, or they do not belong together.
    """
    from v2l.codebook.codebook import Codebook
    from v2l.tokenizers.grid.model import SHIPPED
    from v2l.training.recipes.adapter_models import AdapterModels

    words = Codebook.load((codebooks or SHIPPED) / "global")
    return AdapterModels.load(words, llm, given.device, given.dtype)


def run_to_the_end(training: AdapterTraining, models: AdapterModels, out: Output) -> int:
    """Train, and print the result; returns how many steps are done."""
    total, adapter = training.settings.steps, training.settings.run / "model"
    skipped: list[int] = []
    with progress() as report:

        def on_step(step: int, terms: dict[str, float]) -> None:
            report("training", step, total, f"loss {terms['loss']:.3f}")
            if terms["skipped"]:
                skipped.append(step)

        result = training.train(models, on_step, report)
    if is_main_process():
        record = {
            "output": str(adapter),
            "steps": result.steps,
            "of": total,
            "images": len(training.images) - len(result.unreadable),
            "skipped": [str(file) for file in result.unreadable],
            "skipped_steps": skipped,
            "stack": {**models.llm.describe(), "encoder": models.encoder.name, "adapter": training.kind},
        }
        out.result(record, f"{result.steps:,} of {total:,} steps done; the adapter is {adapter}")
        if result.unreadable:
            files = [f"  {file}" for file in result.unreadable]
            out.note("\n".join([f"skipped {len(files)} unreadable file(s):", *files]))
        for step in skipped:
            out.note(f"step {step}: a gradient was not finite, the batch was skipped")
    return result.steps

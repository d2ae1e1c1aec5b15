"""v2l evaluate restoration: photographs ──► figures of five tasks, beside baselines without an LLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.evaluate.options import Log, Target, note_skipped
from v2l.cli.options import Json, Llm, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress
from v2l.cli.restore.options import (
    Adapter,
    Assignments,
    Examples,
    OldPreset,
    Preset,
    Temperature,
    build_settings,
    example_images,
    preset,
    preset_name,
)
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.pipeline.pipeline import Pipeline
    from v2l.sources import ImageFile
    from v2l.tasks.restoration.restorer import Restorer

Places = Annotated[
    list[str],
    typer.Argument(metavar="PLACE", help="Clean photographs: folders, image files, lists, tar shards."),
]
Which = Annotated[
    str,
    typer.Option(
        help="paper: examples from the clean image; official: those of the official code, in its wording; "
        "blind: no clean image."
    ),
]
Tasks = Annotated[str, typer.Option(help="Which tasks, with commas between them.", metavar="NAMES")]
Limit = Annotated[int, typer.Option(help="At most so many photographs, drawn by --seed; 0 takes all.", min=0)]
Windows = Annotated[
    int,
    typer.Option(
        help="At most so many windows for each photograph, without pictures; 0 predicts all and makes "
        "pictures. The blind protocol always predicts all.",
        min=0,
    ),
]
Wording = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        help="Wording of the prompt: tuned, paper, official; by default official by its protocol, "
        "else tuned.",
    ),
]
Restorers = Annotated[
    list[Path] | None,
    typer.Option(
        "--restorer",
        help="What v2l train-restorer wrote: measured by the blind protocol too. May be given several times.",
        metavar="DIR",
    ),
]
Prompts = Annotated[
    bool,
    typer.Option("--prompts/--no-prompts", help="blind: also restore by prompts, which takes most time."),
]


def load_restorers(folders: Sequence[Path] | None, pipeline: Pipeline) -> dict[str, Restorer]:
    """Title ──► restorer, with the pipeline's LLM.

    Raises:
        V2LError: a folder is missing, or belongs to another LLM; two have the same body.
    """
    from v2l.tasks.restoration.restorer import Restorer

    found: dict[str, Restorer] = {}
    for folder in folders or ():
        restorer = Restorer.load(folder).use_llm(pipeline.llm)
        title = f"restorer, {restorer.settings.body}"
        if title in found:
            raise V2LError(f"got two restorers with the body {restorer.settings.body!r}", "one of each body")
        found[title] = restorer
    return found


def refuse_measured_examples(files: Sequence[ImageFile], examples: Sequence[str] | None) -> None:
    """Check that no photograph is measured and shown as an example, under whatever name.

    Raises:
        V2LError: some are.
    """
    from v2l.sources import find_images, same_bytes

    both = same_bytes(files, find_images(*examples)) if examples else ()
    if both:
        raise V2LError(
            f"{len(both)} photograph(s) are both measured and examples",
            "other photographs as examples",
            "--examples FOLDER",
        )


def evaluate_restoration(
    ctx: typer.Context,
    places: Places,
    protocol: Which = "paper",
    tasks: Tasks = "inpaint,outpaint,deblur,unshift,unrotate",
    limit: Limit = 40,
    windows: Windows = 16,
    prompt: Wording = None,
    temperature: Temperature = 0.0,
    settings: Preset = None,
    old_preset: OldPreset = None,
    assignments: Assignments = None,
    examples: Examples = None,
    adapter: Adapter = None,
    restorers: Restorers = None,
    prompts: Prompts = True,
    target: Target = None,
    log: Log = None,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Measure how well the frozen LLM restores masked pixels, blur, shift and rotation.

    Token accuracy, PSNR, SSIM, a perceptual distance and a Fréchet distance, of the whole and of the region,
    with 95 % intervals. The baselines are a vote over the examples, the nearest visible token, mean fill,
    OpenCV's Telea, a choice without the LLM, and the correct tokens.
    """
    from v2l.evaluation.reconstruction import ReconstructionMetrics
    from v2l.evaluation.restoration.cases import CaseSettings
    from v2l.evaluation.restoration.report import page, pictures, report
    from v2l.evaluation.restoration.run import Restoration, RestorationPlan
    from v2l.images import check_suffix, save_image
    from v2l.sources import find_images

    given = options(ctx)
    with output(json) as out:
        if target is not None:
            check_suffix(target)
            if protocol != "blind" and windows:
                raise V2LError(
                    f"pictures need all windows, and got --windows {windows}", "--windows 0", "--windows 0"
                )
        prompt = prompt or ("official" if protocol == "official" else "tuned")
        chosen = {"prompt": prompt, "temperature": temperature, "seed": given.seed}
        chosen |= {"n_before": 0} if protocol == "official" else {}  # its two-token input
        best = "adapter" if adapter else "blind" if protocol == "blind" else "strong"
        values = preset(preset_name(settings, old_preset), prompt, best) | chosen
        cases = CaseSettings(protocol, build_settings(values, assignments), windows or None, prompts)
        plan = RestorationPlan(cases, tuple(filter(None, tasks.split(","))), given.seed, limit or None)
        for option, value in (("adapter", adapter), ("restorer", restorers)):
            if value and not cases.blind:
                raise V2LError(
                    f"got --{option} with the protocol {protocol}",
                    "blind, which it is trained for",
                    "--protocol blind",
                )
        files, shown = find_images(*places), example_images(examples)
        refuse_measured_examples(files, examples)
        pipeline = load_pipeline(given, tokenizer, llm, adapter)
        metrics = ReconstructionMetrics.load(pipeline.grid)
        evaluation = Restoration(pipeline, metrics, plan, tuple(shown), load_restorers(restorers, pipeline))
        with progress() as show:
            result = evaluation.run(files, log, show)
        shown_page = pictures(result)
        if target is not None and shown_page is not None:
            save_image(shown_page, target)
        out.result(report(result), page(result))
        note_skipped(out, [reason for _, reason in result.skipped])

"""v2l evaluate reconstruction: photographs ──► similarity of their reconstructions, beside JPEG and WebP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.evaluate.options import LimitOfTwo, Places, Target, note_skipped
from v2l.cli.options import Json, OptionalEngine, Tokenizer, Workers, chosen_engine, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress

Without = Annotated[
    str | None,
    typer.Option(help="A second checkpoint, trained without global words, beside the first.", metavar="DIR"),
]
Size = Annotated[
    int | None,
    typer.Option(help="Side of the centre crops in pixels; 128 by default, 256 by the official protocol."),
]
Protocol = Annotated[
    str,
    typer.Option(
        help="default, or official: crops of 256 px and LPIPS in the range of the released evaluation."
    ),
]
Log = Annotated[
    Path | None,
    typer.Option(
        help="Journal, with a folder beside it: the same command goes on with both.", metavar="FILE.jsonl"
    ),
]


def evaluate_reconstruction(
    ctx: typer.Context,
    places: Places,
    tokenizer: Tokenizer = None,
    without: Without = None,
    limit: LimitOfTwo = None,
    size: Size = None,
    protocol: Protocol = "default",
    target: Target = None,
    log: Log = None,
    engine: OptionalEngine = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Measure how near photographs come back from their tokens, beside WebP, JPEG and shrinking.

    PSNR, SSIM, a perceptual distance and a Fréchet distance by networks that nothing was trained for, with 95
    % intervals; how many of the local words are in use; and what the decoder loses with the global words of
    another photograph.
    """
    from v2l.evaluation.reconstruction import SIZES, Reconstruction, ReconstructionSettings
    from v2l.evaluation.reconstruction_pictures import pictures
    from v2l.evaluation.reconstruction_report import page, report
    from v2l.evaluation.reconstruction_workers import ReconstructionWorkers
    from v2l.images import check_suffix, save_image
    from v2l.sources import find_images

    given = options(ctx)
    with output(json) as out:
        if target is not None:
            check_suffix(target)
        chosen = chosen_engine(engine, workers, given.device)
        files = find_images(*places)
        settings = ReconstructionSettings(size or SIZES.get(protocol, 0), given.seed, limit, protocol)
        evaluation = Reconstruction.load(load_pipeline(given, tokenizer), settings, without)
        helpers = ReconstructionWorkers(chosen, tokenizer, without) if chosen is not None else None
        with progress() as report_progress:
            result = evaluation.run(files, log, report_progress, helpers)
        if target is not None:
            save_image(pictures(evaluation, files, result.files), target)
        out.result(report(result), page(result))
        note_skipped(out, [reason for _, reason in result.skipped])

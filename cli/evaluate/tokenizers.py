"""v2l evaluate tokenizers: photographs ──► one table and one plot of every tokenizer that decodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.evaluate.options import LimitOfTwo, Places, note_skipped
from v2l.cli.options import Json, options
from v2l.cli.output import Output, output
from v2l.cli.progress import progress

if TYPE_CHECKING:
    from v2l.tokenizers.contract import ImageTokenizer

Tokenizers = Annotated[
    list[str] | None,
    typer.Option(
        "--tokenizer",
        help="A checkpoint beside those that ship, or names to choose from them; as often as needed.",
        metavar="NAME_OR_DIR",
    ),
]
Size = Annotated[int, typer.Option(help="Side of the centre crops in pixels.", min=32)]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder for table.md, table.json, curve.png and a journal; the same command goes on with it.",
        metavar="DIR",
    ),
]


def evaluate_tokenizers(
    ctx: typer.Context,
    places: Places,
    tokenizer: Tokenizers = None,
    limit: LimitOfTwo = None,
    size: Size = 128,
    target: Folder = None,
    json: Json = False,
) -> None:
    """Measure every tokenizer that decodes, beside WebP, JPEG, AVIF and shrinking at equal bytes."""
    from v2l.evaluation.reconstruction import ReconstructionMetrics, ReconstructionSettings
    from v2l.evaluation.tokenizers import TokenizersEvaluation
    from v2l.evaluation.tokenizers_report import report, table
    from v2l.sources import find_images

    given = options(ctx)
    with output(json) as out:
        files = find_images(*places)
        tokenizers = load_all(tokenizer or [], given.device, out)
        metrics = ReconstructionMetrics.load(*tokenizers.values())
        settings = ReconstructionSettings(size, given.seed, limit)
        evaluation = TokenizersEvaluation(tokenizers, metrics, settings)
        with progress() as report_progress:
            log = None if target is None else target / "journal.jsonl"
            result = evaluation.run(files, log, report_progress)
        found = report(result)
        if target is not None:
            write_folder(target, found)
        out.result(found, table(found))
        note_skipped(out, [reason for _, reason in result.skipped])


def load_all(chosen: list[str], device: str, out: Output) -> dict[str, ImageTokenizer]:
    """The named tokenizers, or all that ship, and the checkpoints given, by the name of their row.

    A tokenizer whose number of tokens can be chosen has a row for each.
    """
    from v2l.tokenizers.loading import load_tokenizer, split_length
    from v2l.tokenizers.registry import member_named, tokenizer_names

    able = tokenizer_names("decoder")
    shipped = [name for name in able if member_named(name).weights is not None]
    named = [name for name in chosen if name in able]
    loaded: dict[str, ImageTokenizer] = {}
    first: dict[str, str] = {}  # a tokenizer's name ──► the checkpoint that has the plain name in the table
    uncounted = []
    for name in [*(named or shipped), *(place for place in chosen if place not in able)]:
        model = load_tokenizer(name, device)
        if name in shipped and model.codebook_size is None:
            uncounted.append(name)
            continue
        place, length = split_length(name)
        has_name = first.setdefault(model.NAME, str(place)) == str(place)
        loaded |= rows_of(model, model.NAME if has_name else f"{model.NAME}, {place}", length)
    for name in uncounted:
        out.note(f"left out {name}: its tokens are no codes of a fixed codebook, so they have no byte count")
    for name in sorted(set(able) - set(shipped) - set(first)):
        out.note(f"left out {name}: no checkpoint of it ships; add one with --tokenizer DIR")
    return loaded


def rows_of(model: ImageTokenizer, name: str, length: int | None) -> dict[str, ImageTokenizer]:
    """A row for the chosen number of tokens, or for each that can be chosen; else one row."""
    if not model.lengths:
        return {name: model}
    lengths = model.lengths if length is None else (length,)
    return {f"{name}, {number} tokens": model.with_length(number) for number in lengths}


def write_folder(target: Path, found: dict[str, object]) -> None:
    """table.md, table.json and curve.png, each whole or not at all."""
    import json

    from v2l.evaluation.tokenizers_report import chart, table
    from v2l.files import write_file
    from v2l.images import save_image

    for name, text in {"table.md": table(found), "table.json": json.dumps(found, indent=1)}.items():
        with write_file(target / name) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    save_image(chart(found), target / "curve.png")

"""v2l evaluate mosaics: photographs of known classes ──► how many of a mosaic are named at their place."""

from __future__ import annotations

from typing import Annotated

import typer

from v2l.cli.evaluate.options import Log, Places
from v2l.cli.options import Json, options
from v2l.cli.output import output
from v2l.cli.progress import progress
from v2l.errors import V2LError

Tokenizers = Annotated[
    str, typer.Option("--tokenizers", help="Names or folders of tokenizers with places, commas between.")
]
Count = Annotated[int, typer.Option("--mosaics", help="Mosaics of each number of photographs.", min=2)]
Numbers = Annotated[
    str, typer.Option("--photographs", help="Photographs a mosaic, with commas between: 2, 4, 6, 9.")
]
Words = Annotated[int, typer.Option("--words", help="Words of a mosaic at most.", min=1)]


def evaluate_mosaics(
    ctx: typer.Context,
    places: Places,
    tokenizers: Tokenizers = "slices,groma",
    mosaics: Count = 60,
    photographs: Numbers = "2,4,6,9",
    words: Words = 21,
    log: Log = None,
    json: Json = False,
) -> None:
    """Measure in mosaics of photographs how many are named at the right place, beside the bag of words.

    The class of a photograph is the WordNet id in its file's name, or its folder. The bag has as many words
    and no places: its words count wherever the photograph is.
    """
    from v2l.evaluation.class_names import names_of_classes
    from v2l.evaluation.mosaic_pictures import Photograph
    from v2l.evaluation.mosaics import MosaicSettings, page, report
    from v2l.evaluation.mosaics import evaluate_mosaics as measure
    from v2l.sources import find_images
    from v2l.tokenizers.loading import load_tokenizer
    from v2l.tokenizers.placed_words import shipped_tagger

    given = options(ctx)
    settings = MosaicSettings(mosaics, numbers(photographs), words, given.seed)
    with output(json) as out:
        files = find_images(*places)
        classes = names_of_classes(files)
        if classes is None:
            raise V2LError(
                "the photographs state no classes", "WordNet ids in the files' names, or one folder a class"
            )
        known = [Photograph(file, names) for file, names in zip(files, classes, strict=True)]
        loaded = {name: load_tokenizer(name, given.device) for name in tokenizers.split(",")}
        with progress() as report_progress:
            found = measure(loaded, shipped_tagger(), known, settings, log, report_progress)
        stack = {name: tokenizer.describe() for name, tokenizer in loaded.items()}
        out.result(report(found, settings, stack), page(found, given.seed))


def numbers(text: str) -> tuple[int, ...]:
    """The numbers of a text like 2,4, each once.

    Raises:
        V2LError: there are no mosaics of so many photographs.
    """
    parts = [part.strip() for part in text.split(",")]
    if not set(parts) <= {"2", "4", "6", "9"}:
        raise V2LError(f"got --photographs {text}", "2, 4, 6 and 9, with commas between", "--photographs 4,9")
    return tuple(dict.fromkeys(int(part) for part in parts))

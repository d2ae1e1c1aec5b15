"""v2l evaluate semantics: photographs + codebooks ──► cosines of photographs and their words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.codebook.directory import encoder_of
from v2l.cli.evaluate.options import Places, note_skipped, numbers
from v2l.cli.options import Json, options
from v2l.cli.output import output
from v2l.cli.progress import progress

Codebooks = Annotated[
    Path | None,
    typer.Option(
        help="A build or a checkpoint: its global/, and its candidates/ if it has them; "
        "by default what ships.",
        metavar="DIR",
    ),
]
Candidates = Annotated[
    Path | None,
    typer.Option(
        help="The codebook before the filter, when it lies elsewhere (v2l build-codebook --keep-candidates)."
    ),
]
Counts = Annotated[str, typer.Option(help="Numbers of words an image, with commas between.")]
Distinct = Annotated[
    bool,
    typer.Option(
        "--distinct", help="One word of each family, as v2l chooses global words; else just the nearest."
    ),
]
Ranking = Annotated[
    str,
    typer.Option(
        help="Words in which class names are looked for: varied (no two phrases share a word), distinct (one "
        "of each family), or euclidean (as released).",
    ),
]
Limit = Annotated[int | None, typer.Option(help="Only so many photographs, drawn by --seed.", min=1)]


def evaluate_semantics(
    ctx: typer.Context,
    places: Places,
    codebooks: Codebooks = None,
    candidates: Candidates = None,
    counts: Counts = "1,5,21",
    distinct: Distinct = False,
    ranking: Ranking = "varied",
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Measure the words of photographs: how near they are, and how often they name the photograph's class.

    The class is the WordNet id in the file's name, or the folder. "Near" is the mean cosine, and the same
    relative to the whole vocabulary.

    The relative score is 0 for the worst word of the vocabulary and 1 for the best. The vocabularies are
    subwords only, with bigrams, and with trigrams, before and after the filter. The baseline is random words
    of the same codebook.
    """
    from random import Random

    from v2l.codebook.codebook import Codebook
    from v2l.encoders.image_features import image_features
    from v2l.evaluation.class_names import names_of_classes
    from v2l.evaluation.semantics import SemanticsSettings, page, report
    from v2l.evaluation.semantics import evaluate_semantics as measure
    from v2l.evaluation.word_naming import evaluate_naming
    from v2l.shards import Shards
    from v2l.sources import find_images
    from v2l.tokenizers.grid.model import SHIPPED
    from v2l.tokenizers.word_tagger import check_ranking
    from v2l.zoo import cache_home

    given = options(ctx)
    settings = SemanticsSettings(tuple(sorted(numbers("--counts", counts, 1))), distinct, given.seed)
    check_ranking(ranking)
    with output(json) as out:
        files = find_images(*places)
        files = Random(given.seed).sample(files, min(limit or len(files), len(files)))
        home = codebooks or SHIPPED
        before = candidates or home / "candidates"
        books = {"before the filter": Codebook.load(before)} if candidates or before.is_dir() else {}
        books["after the filter"] = Codebook.load(home / "global")
        with progress() as report_progress:
            encoder = encoder_of(books["after the filter"], given.device)
            features, unreadable = image_features(
                encoder, files, Shards(cache_home() / "images", "encoding images", report_progress, 256)
            )
        result = measure(features, books, settings)
        record, text = report(result) | {"skipped": [str(file) for file in unreadable]}, page(result)
        skipped = set(unreadable)
        classes = names_of_classes([file for file in files if file not in skipped])
        if classes is not None:
            naming = evaluate_naming(features, books["after the filter"], classes, ranking, given.seed)
            record, text = record | {"naming": naming.to_dict()}, f"{text}\n\n{naming.page()}"
        out.result(record, text)
        if classes is None:
            out.note(
                "the photographs state no classes, by a WordNet id or by folders: names were not looked for"
            )
        note_skipped(out, [str(file) for file in unreadable])
        if len(books) == 1:
            out.note(f"{home} holds no candidates/: only the words after the filter were measured")

"""v2l codebook show: a codebook ──► its sizes, dropped words, neighbours of a word, a page of pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.codebook.directory import codebooks_in, encoder_of
from v2l.cli.options import Json, options
from v2l.cli.output import output
from v2l.cli.progress import progress
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.codebook.codebook import Codebook
    from v2l.tokens import Word

Directory = Annotated[
    Path | None,
    typer.Argument(
        metavar="[DIR]", help="A codebook, a build or a checkpoint; by default the codebooks that ship."
    ),
]
WordOption = Annotated[
    str | None, typer.Option("--word", help="Print the words nearest to this one.", metavar="WORD")
]
Images = Annotated[
    list[str] | None,
    typer.Option(help="Photographs for the page; may be given several times.", metavar="PLACE"),
]
Page = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Page to write: photographs with their words.", metavar="FILE.png"),
]
Count = Annotated[
    int,
    typer.Option(
        "--count", "-n", help="How many words: neighbours, or of each length below a photograph.", min=1
    ),
]
Limit = Annotated[int, typer.Option(help="Photographs on the page, spread evenly over all.", min=1)]


def codebook_show(
    ctx: typer.Context,
    directory: Directory = None,
    word: WordOption = None,
    images: Images = None,
    page: Page = None,
    count: Count = 5,
    limit: Limit = 16,
    json: Json = False,
) -> None:
    """Show a codebook: words by length, ids that are no words, neighbours, photographs with nearest words."""
    from v2l.images import check_suffix
    from v2l.tokenizers.grid.model import SHIPPED

    if (images is None) != (page is None):
        raise V2LError("a page of pictures needs both --images and -o", "--images PLACE -o page.png")
    if page is not None:
        check_suffix(page)
    with output(json) as out:
        books = codebooks_in(directory or SHIPPED)
        book = books.get("global") or next(iter(books.values()))
        record: dict[str, Any] = {
            "codebooks": {name: describe(each) for name, each in books.items()},
            "stack": vars(book.source),
        }
        lines = [line for name, each in books.items() for line in described(name, each)]
        if word is not None:
            near = neighbours(book, word, count)
            record["neighbours"] = [vars(found) for found in near]
            lines.append(f"near {word}: " + ", ".join(f"{found.word} {found.score:.2f}" for found in near))
        if images and page is not None:
            record["images"] = draw(ctx, book, images, page, count, limit)
            lines.append(f"{page}: {len(record['images'])} photographs with their words")
        out.result(record, "\n".join(lines))


def describe(book: Codebook) -> dict[str, Any]:
    """Sizes and metadata as a record."""
    orders = Counter(entry.order for entry in book.entries)
    return {
        "codebook_size": len(book),
        "codebook_dim": book.embeddings.shape[1],
        "by_order": {str(order): orders[order] for order in sorted(orders)},
        "aliases": sum(len(entry.aliases) for entry in book.entries),
        "facts": book.metadata,
    }


def described(name: str, book: Codebook) -> list[str]:
    """Sizes and metadata as lines of text."""
    sizes, facts = describe(book), book.metadata
    by_order = ", ".join(
        f"{number:,} of {order if order != '0' else 'unknown'} token(s)"
        for order, number in sizes["by_order"].items()
    )
    lines = [
        f"{name}: {len(book):,} words × {sizes['codebook_dim']}, of {book.source.llm}, "
        f"embedded by {book.source.encoder}",
        f"  {by_order}",
    ]
    if dropped := facts.get("dropped"):
        lines.append("  dropped: " + ", ".join(f"{reason} {number:,}" for reason, number in dropped.items()))
    if seen := facts.get("seen_by_at_least"):
        by_votes = ", ".join(f"{number:,} of {least} or more" for least, number in seen.items())
        voting = f"among the {facts.get('votes', 5)} nearest of {facts['images']:,} photographs"
        lines.append(f"  {facts['candidates']:,} candidates; {voting}: {by_votes}")
    return [*lines, ""]


def neighbours(book: Codebook, word: str, count: int) -> list[Word]:
    """The words nearest to a word of the codebook, without itself.

    Raises:
        V2LError: it is not in the codebook.
    """
    from difflib import get_close_matches

    from v2l.tokens import Word

    if word not in book.words:
        close = get_close_matches(word, book.words, n=3, cutoff=0.5)
        raise V2LError(
            f"the codebook has no word {word!r}",
            "one of its words",
            f"--word {close[0]}" if close else "v2l codebook export",
        )
    row = book.words.index(word)
    scores, rows = book.nearest(book.embeddings[row : row + 1].float(), min(count + 1, len(book)))
    found = [
        (book.entries[place], score)
        for place, score in zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        if place != row
    ]
    return [Word(entry.word, entry.ids, score) for entry, score in found[:count]]


def draw(
    ctx: typer.Context, book: Codebook, places: list[str], page: Path, count: int, limit: int
) -> list[dict[str, Any]]:
    """Write the page; returns a record of the words of each photograph."""
    from v2l.codebook.page import words_by_order, words_page
    from v2l.encoders.image_features import image_features
    from v2l.images import load_image, save_image
    from v2l.shards import Shards
    from v2l.sources import find_images
    from v2l.zoo import cache_home

    files = find_images(*places)
    count_shown = min(limit, len(files))
    files = [files[index * len(files) // count_shown] for index in range(count_shown)]
    with progress() as report:
        encoder = encoder_of(book, options(ctx).device)
        features, unreadable = image_features(
            encoder, files, Shards(cache_home() / "images", "encoding images", report, 256)
        )
    readable = [file for file in files if file not in unreadable]
    words = words_by_order(book, features, count)
    save_image(words_page([load_image(file) for file in readable], words), page)
    return [
        {
            "image": str(file),
            "words": {title: [vars(word) for word in found] for title, found in by_order.items()},
        }
        for file, by_order in zip(readable, words, strict=True)
    ]

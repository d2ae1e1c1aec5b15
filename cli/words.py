"""v2l words: photographs ──► the LLM's words for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.option_groups import expand_options
from v2l.cli.options import Json, Tokenizer, options
from v2l.cli.output import Output, output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.regions import RegionOptions
from v2l.errors import V2LError
from v2l.places import PlacedWord, describe_places

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.codebook.codebook import Codebook
    from v2l.pipeline.pipeline import Pipeline
    from v2l.sources import ImageFile
    from v2l.tokens import VisualTokens, Word

Photographs = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGE", help="Photographs, or folders of them; with --json one line of JSON each."
    ),
]
Count = Annotated[int, typer.Option("--count", "-n", help="Words of each image.", min=1)]
Local = Annotated[
    bool, typer.Option("--local", help="The grid of local tokens too: one subword for each cell of pixels.")
]
Selected = Annotated[
    str,
    typer.Option(
        "--selection",
        metavar="nearest|together",
        help="nearest: the words nearest to the image. "
        "together: words that sum up to it, as fewshot-classify reads them by default.",
    ),
]
LISTS = {
    "nearest": "the nearest words, as caption and vqa read them; "
    "fewshot-classify reads others: --selection together",
    "together": "words that sum up to the image, as fewshot-classify reads them; "
    "the nearest: --selection nearest",
}
OWN_LIST = "words of the tokenizer's own tokens, best first; fewshot-classify, caption and vqa read the same"
SENTENCE = "the image as a sentence of codes, from which it is decoded again; the words have no meaning here"
PLACED_LIST = "each word with its part of the image, as caption and vqa read them"
Target = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="A picture of the tokens, each with its outline and word; of several images a folder.",
        metavar="FILE_OR_DIR",
    ),
]


@expand_options
def words(
    ctx: typer.Context,
    images: Photographs,
    count: Count = 8,
    selection: Selected = "nearest",
    local: Local = False,
    target: Target = None,
    tokenizer: Tokenizer = None,
    json: Json = False,
    *,
    regions: RegionOptions,
) -> None:
    """Name what is in photographs, in words of the frozen LLM's vocabulary, with the cosine of each.

    A tokenizer of words with places (slices, groma) prints the share and the position of each part instead;
    titok prints the sentence from which the image is decoded again.
    """
    from v2l.images import Skipped, load_images
    from v2l.sources import find_images, is_container
    from v2l.tokenizers.word_tagger import check_selection

    paths = [path for place in images for path in (find_images(place) if is_container(place) else [place])]
    skipped = Skipped()
    with output(json) as out:
        check_selection(selection)
        pictures = Pictures.at(target, paths)
        pipeline = regions.apply(load_pipeline(options(ctx), tokenizer))
        notes: set[str] = set()
        for path, image in load_images(paths, skipped):
            found = find_words(pipeline, path, image, (count, selection))
            if not notes:  # once, before the first result
                out.note(found.note)
            notes.add(found.note)
            write(out, pipeline, found, image, local)
            if pictures is not None:
                pictures.save(found, pipeline, image)
        if len(skipped) == len(paths):
            raise V2LError(f"none of {len(paths)} file(s) could be read; the first: {skipped.files[0][1]}")
        if skipped:
            out.note(skipped.report())


@dataclass(frozen=True)
class Found:
    """The words of one image.

    Attributes:
        path: its file.
        words: the best first.
        selection: how they were chosen.
        placed: the words with their places; empty if they have none.
        tokens: of this image alone; None if they were not needed for the words.
    """

    path: ImageFile
    words: Sequence[Word]
    selection: str
    placed: Sequence[PlacedWord] = ()
    tokens: VisualTokens | None = None

    @property
    def note(self) -> str:
        """Which list of words it is, for people."""
        if self.placed:
            return PLACED_LIST
        if self.selection == "sentence":
            return SENTENCE
        return OWN_LIST if self.selection == "own" else LISTS[self.selection]

    def record(self) -> dict[str, Any]:
        """The words for programs."""
        words = [vars(word) for word in self.words]
        if self.placed:
            words = [
                {
                    **{key: value for key, value in vars(word).items() if key != "area"},
                    **vars(word.area),
                    "position": word.area.position,
                }
                for word in self.placed
            ]
        return {"image": str(self.path), "words": words, "selection": self.selection}

    def text(self) -> str:
        """One line for people."""
        if self.selection == "sentence":
            return f"{self.path}: {' '.join(word.word for word in self.words)}"
        return f"{self.path}: {describe_places(self.placed)}" if self.placed else line(self.path, self.words)


def find_words(pipeline: Pipeline, path: ImageFile, image: Tensor, choice: tuple[int, str]) -> Found:
    """The words of an image (3, H, W); `choice` is their number and how a tagger selects them.

    A sentence of codes is given whole, in its order.
    """
    from v2l.tokenizers.needs import gives

    tokenizer, (count, selection) = pipeline.tokenizer, choice
    if tokenizer.tagger is not None:
        return Found(path, tokenizer.image_words(image[None], count, selection).words[0], selection)
    tokens = tokenizer.encode(image[None])
    if gives(tokenizer, "sentence") and tokens.words:
        return Found(path, tokens.words[0], "sentence", tokens=tokens)
    placed = tokenizer.placed_words(tokens)
    if placed:
        return Found(path, (), "own", placed[:count], tokens)
    return Found(path, tokenizer.image_words(image[None], count, selection).words[0], "own")


def write(out: Output, pipeline: Pipeline, found: Found, image: Tensor, local: bool) -> None:
    """Print one image's file, words and selection, and a note when there is little to see in it.

    Args:
        out: standard output.
        pipeline: whose tokenizer found the words.
        found: file and words.
        image: (3, H, W) in [0, 1].
        local: whether its grid of local words is printed too.
    """
    record: dict[str, Any] = {**found.record(), "stack": pipeline.describe()}
    text = found.text()
    if local:
        model = pipeline.grid
        record["local_ids"] = model.encode_local(model.square(image[None]))[0].tolist()
        text += "\n" + grid(local_words(model.local_codebook, record["local_ids"]))
    out.result_with_note(record, text, pipeline.tokenizer.visibility_note(image))


@dataclass
class Pictures:
    """Where the pictures of the tokens are written.

    Attributes:
        target: a file for one image, a folder for several.
        is_folder: which of the two.
        written: how many pictures have each name, because files of two folders can have one name.
    """

    target: Path
    is_folder: bool
    written: dict[str, int] = field(default_factory=dict)

    @classmethod
    def at(cls, target: Path | None, paths: Sequence[ImageFile]) -> Pictures | None:
        """Check the target before long work; None without one.

        Raises:
            V2LError: it is no file of an image format, or a file for several images.
        """
        if target is None:
            return None
        from v2l.images import check_suffix

        is_folder = len(paths) > 1 or target.is_dir()
        if not is_folder:
            check_suffix(target)
        elif target.suffix and not target.is_dir():
            raise V2LError(f"got -o {target} for {len(paths)} images", "a folder", f"-o {target.stem}")
        return cls(target, is_folder)

    def save(self, found: Found, pipeline: Pipeline, image: Tensor) -> None:
        """Write the picture of one image (3, H, W): its tokens with outlines and words.

        Raises:
            V2LError: it cannot be written.
        """
        from v2l.images import save_image

        tokenizer = pipeline.tokenizer
        tokens = tokenizer.encode(image[None]) if found.tokens is None else found.tokens
        picture = tokenizer.explain(image, tokens).picture
        if not self.is_folder:
            return save_image(picture, self.target)
        stem = Path(found.path.name).stem
        count = self.written[stem] = self.written.get(stem, 0) + 1
        self.target.mkdir(parents=True, exist_ok=True)
        return save_image(picture, self.target / (f"{stem}.png" if count == 1 else f"{stem}-{count}.png"))


def line(path: ImageFile, found: Sequence[Word]) -> str:
    """One image for people: its name, then its words with their cosines."""
    return f"{path}: " + ", ".join(f"{word.word} {word.score:.2f}" for word in found)


def local_words(codebook: Codebook, local_ids: list[list[int]]) -> list[list[str]]:
    """The grid of token ids as the codebook's words."""
    return [[codebook.words[codebook.row_of_token[token_id]] for token_id in row] for row in local_ids]


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Local words as a table of columns."""
    widths = [max(len(word) for word in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + " ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )

"""a folder of tokens ──► images again, one PNG for each row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from v2l.checkpoint import MANIFEST, file_hash
from v2l.errors import V2LError
from v2l.images import save_image
from v2l.progress import Progress, silent
from v2l.tokenization.plan import read_run
from v2l.tokenization.schema import from_row
from v2l.tokenization.storage import Storage
from v2l.tokenization.worker import count_images
from v2l.tokenization.writer import WRITERS
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.loading import load_tokenizer, locate_tokenizer, split_length
from v2l.tokenizers.needs import require_decoder


@dataclass(frozen=True)
class Painted:
    """What `detokenize` wrote.

    Attributes:
        images: new files.
        there: files that were there already.
    """

    images: int
    there: int


def detokenize(
    url: str, target: Path, tokenizer: str | None = None, device: str = "auto", progress: Progress = silent
) -> Painted:
    """Decode every row to `target/ID.png`; files that are there already are kept.

    Args:
        url: what `v2l tokenize` wrote.
        target: a folder.
        tokenizer: its checkpoint, when it is not where it was.
        device: as in `choose_device`.
        progress: called after every image.

    Raises:
        V2LError: the folder is none of `v2l tokenize`, the tokenizer has no decoder or is another one.
    """
    output = Storage(url)
    manifest, total = read_run(output), count_images(output)
    model = _load(manifest, tokenizer, device)
    kind = "embeddings" if "embeddings" in _gives(model) else "codes"
    written = there = 0
    named: set[Path] = set()
    for row in read_rows(url):
        path = target / unused_name(file_name(row["id"]), named)
        if path.is_file():
            there += 1
        else:
            with torch.inference_mode():
                save_image(model.decode(from_row(row, kind))[0], path)
            written += 1
        progress("pictures", written + there, total)
    return Painted(written, there)


def _gives(model: ImageTokenizer) -> tuple[str, ...]:
    return locate_tokenizer(model.NAME)[0].gives


def _load(manifest: dict[str, Any], tokenizer: str | None, device: str) -> ImageTokenizer:
    """The tokenizer of a run, with the same checkpoint."""
    name, wanted = tokenizer or manifest["tokenizer"]["checkpoint"], manifest["tokenizer"]["fingerprint"]
    found = file_hash(locate_tokenizer(split_length(name)[0])[1] / MANIFEST)[:16]
    if found != wanted:
        raise V2LError(
            f"the checkpoint {name} has the fingerprint {found}",
            f"{wanted}, which made the tokens",
            "--tokenizer FOLDER",
        )
    model = load_tokenizer(name, device)
    require_decoder(model, "v2l detokenize")
    return model


def read_rows(url: str) -> Iterator[dict[str, Any]]:
    """All rows of a folder of tokens, in the order of the input.

    Raises:
        V2LError: the folder is none of `v2l tokenize`.
    """
    output = Storage(url)
    writer = WRITERS[read_run(output)["settings"]["format"]]
    for name in output.names(f"part-*{writer.suffix}"):
        with output.open(name) as file:
            yield from writer.read(file)


def unused_name(name: Path, named: set[Path]) -> Path:
    """A name for a picture, with #2, #3, … if an earlier row has it; it is added to the earlier ones."""
    unused, number = name, 1
    while unused in named:
        number += 1
        unused = name.with_name(f"{name.stem}#{number}{name.suffix}")
    named.add(unused)
    return unused


def file_name(name: str) -> Path:
    """An id ──► a relative path that stays below its folder: `a.tar/1.jpg` ──► `a.tar/1.jpg.png`."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    return Path(
        *[part.replace(":", "_") for part in parts[:-1]], f"{(parts or ['image'])[-1]}.png".replace(":", "_")
    )

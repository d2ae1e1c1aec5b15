"""official files + the LLM's tokenizer + the joint encoder ──► a report, and a tokenizer directory of ours.

Every row of both codebooks stays selectable, doubles included, as the release has it. Source: V2L Tokenizer,
arXiv 2403.07874, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.codebook.vocabulary import NamedLLM
from v2l.config import Config, ModelsConfig
from v2l.encoders.base import JointEncoder
from v2l.errors import V2LError
from v2l.official.files import GLOBAL_ROWS, LOCAL_ROWS, VOCABULARY, OfficialFiles
from v2l.official.layout import (
    DISCRIMINATOR,
    GLOBAL,
    IMAGE_HALF,
    LOCAL,
    NETWORK,
    PERCEPTUAL,
    Part,
    by_prefix,
    compare,
    expected_shapes,
    infer_config,
    our_name,
    shortened,
)
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.tokenizers.module_weights import load_strictly

HALF_STEP = (
    2**-10
)  # relative tolerance between a number and its copy in half precision: one unit in the last place
HALF_FLOOR = 2**-14  # absolute tolerance near zero, as a share of the tensor's largest number


class TokenStrings(NamedLLM, Protocol):
    """The interface of an LLM that a conversion needs: its tokenizer, not its weights."""

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        ...

    def surface(self, token_id: int) -> str:
        """The text of one token."""
        ...

    def encode_pieces(self, prompt: str) -> list[int]:
        """The token ids of a text."""
        ...


@dataclass(frozen=True)
class Report:
    """What the files are, and what prevents their conversion.

    Attributes:
        files: what was read.
        config: the official settings with the sizes that follow from the shapes.
        parts: the checkpoint, prefix by prefix.
        codebooks: rows, width, distinct rows and precision of both.
        disagreements: of words, rows, vocabulary and joint encoder; one line each.
        notes: what is worth knowing and stops nothing.
    """

    files: OfficialFiles
    config: Config
    parts: tuple[Part, ...]
    codebooks: dict[str, dict[str, Any]]
    disagreements: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """One line each; files with none can be converted."""
        return [*(line for part in self.parts for line in part.problems), *self.disagreements]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "checkpoint": str(self.files.checkpoint),
            "layout": self.files.layout,
            "sha256": dict(self.files.hashes),
            "model": vars(self.config.model),
            "parts": [part.to_dict() for part in self.parts],
            "codebooks": self.codebooks,
            "problems": self.problems,
            "notes": list(self.notes),
        }


def examine(files: OfficialFiles, tokens: TokenStrings, encoder: JointEncoder | None) -> Report:
    """Compare the files with each other, with the LLM's vocabulary and with the joint encoder.

    Args:
        files: what was read.
        tokens: the LLM whose ids the local rows are.
        encoder: the joint encoder that made the rows; None leaves that comparison out, and the report says
            so.

    Raises:
        V2LError: the widths belong to no network of this kind.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in files.weights.items()}
    config = infer_config(shapes)
    width = codebook_dim(shapes)
    wanted = expected_shapes(config, width)
    wanted[f"{LOCAL}.weight"] = shapes.get(f"{LOCAL}.weight", (tokens.vocabulary_size, width))
    wanted[f"{GLOBAL}.weight"] = shapes.get(f"{GLOBAL}.weight", (len(files.vocabulary), width))
    wanted |= image_half_shapes(files, encoder)
    parts = tuple(compare(files.weights, wanted))
    tables = {"local": local_rows(files), "global": global_rows(files)}
    disagreements = (
        *precision_problems(parts),
        *row_problems(files, tokens),
        *encoder_problems(files, encoder, width),
    )
    described = {name: describe_rows(rows) for name, rows in tables.items() if rows is not None}
    return Report(files, config, parts, described, disagreements, tuple(notes(files, parts, encoder)))


def convert(report: Report, tokens: TokenStrings, encoder: JointEncoder, target: str | Path) -> V2LTokenizer:
    """Write the directory that `V2LTokenizer.from_pretrained` reads, and give the tokenizer.

    Args:
        report: of files that fit.
        tokens: as in `examine`.
        encoder: likewise.
        target: a new directory, or an older one of ours to replace.

    Raises:
        V2LError: the report contains a problem, or the place cannot be written; nothing is written then.
    """
    if report.problems:
        more = f"; {len(report.problems) - 1} more" if len(report.problems) > 1 else ""
        raise V2LError(
            f"the official files do not fit: {report.problems[0]}{more}",
            "files of one release",
            "the same with --check",
        )
    files = report.files
    own_local, own_global = files.weights[f"{LOCAL}.weight"], global_rows(files)
    assert own_global is not None, "absent rows are a problem of the report"
    source = Source(tokens.name, tokens.fingerprint, encoder.name, encoder.fingerprint)
    local = tuple(
        Entry(tokens.surface(token_id).strip(), (token_id,)) for token_id in range(tokens.vocabulary_size)
    )
    words = tuple(Entry(word, tuple(tokens.encode_pieces(word)), order=0) for word in files.vocabulary)
    metadata = {"made by": "the official release", "rows_unit_norm": False}
    model = V2LTokenizer(
        replace(report.config, models=ModelsConfig(encoder.name, tokens.name)),
        Codebook(local, smallest(own_local), source, metadata | report.codebooks["local"]),
        Codebook(words, smallest(own_global), source, metadata | report.codebooks["global"]),
    )
    groups = by_prefix(files.weights)
    network = {our_name(name): tensor for prefix in NETWORK for name, tensor in groups[prefix].items()}
    load_strictly(model, network, files.checkpoint)
    model.facts = {"converted from": dict(files.hashes), "layout": files.layout}
    discriminator = {
        name.removeprefix(f"{DISCRIMINATOR}."): tensor
        for name, tensor in groups.get(DISCRIMINATOR, {}).items()
    }
    model.save_pretrained(target, beside={DISCRIMINATOR: discriminator} if discriminator else {})
    return model.eval()


def local_rows(files: OfficialFiles) -> Tensor | None:
    """The checkpoint's own local rows."""
    return files.weights.get(f"{LOCAL}.weight")


def global_rows(files: OfficialFiles) -> Tensor | None:
    """The checkpoint's own global rows, or those of the codebook's file."""
    own = files.weights.get(f"{GLOBAL}.weight")
    return files.global_rows if own is None else own


def row_problems(files: OfficialFiles, tokens: TokenStrings) -> Iterator[str]:
    """Where words, rows of the files, rows of the checkpoint and the LLM's vocabulary disagree."""
    local, words = local_rows(files), global_rows(files)
    if words is None:
        yield f"no global rows: neither {GLOBAL}.weight in the checkpoint nor a file {GLOBAL_ROWS}"
    elif not words.isfinite().all():
        yield "the global rows hold NaN or infinity"
    elif len(files.vocabulary) != len(words):
        yield f"{VOCABULARY} has {len(files.vocabulary):,} words for {len(words):,} global rows"
    if local is not None and len(local) != tokens.vocabulary_size:
        vocabulary = f"{tokens.name} has {tokens.vocabulary_size:,} token ids"
        yield f"the checkpoint has {len(local):,} local rows, and {vocabulary}"
    own = files.weights.get(f"{GLOBAL}.weight")
    yield from table_problems(LOCAL_ROWS, files.local_rows, local, words)
    yield from table_problems(GLOBAL_ROWS, files.global_rows, own, local)


def table_problems(
    name: str, table: Tensor | None, own: Tensor | None, other: Tensor | None
) -> Iterator[str]:
    """A codebook's file beside the checkpoint's rows for it, and beside those for the other one."""
    if table is None:
        return
    if other is not None and len(table) == len(other) and (own is None or len(own) != len(other)):
        yield f"{name} has {len(table):,} rows, as many as the other codebook: the two files are swapped"
    elif own is not None and table.shape != own.shape:
        yield f"{name} is {tuple(table.shape)}, and the checkpoint's own rows are {tuple(own.shape)}"
    elif own is not None and not equal_in_half(table, own):
        yield f"{name} holds other numbers than the checkpoint's own rows"


def precision_problems(parts: Sequence[Part]) -> Iterator[str]:
    """Report trained networks that are not stored in one precision.

    CLIP's image encoder and the codebook rows are not compared, because they have their own precision.
    """
    trained = [part for part in parts if part.prefix in (*NETWORK, DISCRIMINATOR) and part.found]
    halved = [part for part in trained if part.half]
    if halved and any(part.half < part.floating for part in trained):
        names = ", ".join(f"{part.half} of {part.floating} tensors of {part.prefix}." for part in halved)
        yield f"a mix of precisions: {names} are stored in half, the others not; convert all by .float()"


def encoder_problems(files: OfficialFiles, encoder: JointEncoder | None, width: int) -> Iterator[str]:
    """Whether the joint encoder is the one whose image half lies in the checkpoint."""
    if encoder is None:
        return
    if encoder.dim != width:
        yield f"{encoder.name} has vectors of {encoder.dim} numbers, and the codebooks' have {width}"
    own, found = encoder.image_weights(), image_half(files)
    differing = tuple(
        name
        for name in own.keys() & found.keys()
        if own[name].shape == found[name].shape and not equal_in_half(found[name], own[name])
    )
    if differing:
        names = shortened(tuple(sorted(differing)))
        share = f"{len(differing)} of {len(found)} tensors differ ({names})"
        yield f"{encoder.name} is another encoder than the checkpoint's: {share}"


def image_half(files: OfficialFiles) -> dict[str, Tensor]:
    """The image half of the joint encoder that the checkpoint brings, by CLIP's own names."""
    return {
        name.removeprefix(f"{IMAGE_HALF}."): tensor
        for name, tensor in by_prefix(files.weights).get(IMAGE_HALF, {}).items()
    }


def image_half_shapes(files: OfficialFiles, encoder: JointEncoder | None) -> dict[str, tuple[int, ...]]:
    """The expected shapes of the image half; the found ones when no encoder is there to compare."""
    own = image_half(files) if encoder is None else encoder.image_weights()
    return {f"{IMAGE_HALF}.{name}": tuple(tensor.shape) for name, tensor in own.items()}


def notes(files: OfficialFiles, parts: tuple[Part, ...], encoder: JointEncoder | None) -> Iterator[str]:
    """What differs from the files after reading, and what was not compared."""
    for part in parts:
        if part.half and part.prefix in (*NETWORK, DISCRIMINATOR):
            share = f"{part.half} of {part.floating} tensors"
            yield f"{part.prefix}.: {share} are in half precision, and are raised to float32"
    for name, table in ((LOCAL_ROWS, files.local_rows), (GLOBAL_ROWS, files.global_rows)):
        if table is None:
            yield f"{name} is not there: the checkpoint's own rows are used alone"
    groups = by_prefix(files.weights)
    if PERCEPTUAL in groups:
        count = len(groups[PERCEPTUAL])
        yield f"{PERCEPTUAL}.: {count} tensors left aside, the perceptual network comes with its own package"
    if encoder is None or IMAGE_HALF not in groups:
        what = "the checkpoint brings no image half" if encoder else "no joint encoder is loaded"
        yield f"{IMAGE_HALF}.: not compared with the joint encoder, for {what}"


def codebook_dim(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """D: the width of the codebooks' rows, from whichever tensor has it; 768 when none does."""
    names = (f"{LOCAL}.weight", "codebook_projection.weight", "decoder.mid.cross_attn_1.to_k.weight")
    return next((shapes[name][1] for name in names if len(shapes.get(name, ())) == 2), 768)


def describe_rows(rows: Tensor) -> dict[str, Any]:
    """Size of a codebook, and how many of its rows differ from every other."""
    distinct = len({row.tobytes() for row in rows.half().numpy()})
    return {
        "rows": len(rows),
        "width": rows.shape[-1],
        "distinct rows": distinct,
        "precision": str(rows.dtype).removeprefix("torch."),
    }


def equal_in_half(rows: Tensor, others: Tensor) -> bool:
    """Whether two tensors of one shape, on any devices, are equal up to rounding to half precision."""
    rows, others = rows.cpu().float(), others.cpu().float()
    return torch.allclose(rows, others, rtol=HALF_STEP, atol=HALF_FLOOR * float(others.abs().max()))


def smallest(rows: Tensor) -> Tensor:
    """The same numbers in float16 where that loses nothing, else in float32."""
    halved = rows.half()
    return halved if torch.equal(halved.float(), rows.float()) else rows.float()

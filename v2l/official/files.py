"""pickled files of the official release ──► tensors and strings; nothing in a file is ever run.

A checkpoint may hold an `argparse.Namespace`, or name a class of `IGNORED`, beside its weights. Every other
class or function that a pickle names is refused, and the error contains its name. Format: read in the
official code, see docs/reproducing.md.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from v2l.checkpoint import file_hash
from v2l.errors import V2LError

LAYOUTS = (
    "state_dict",
    "model",
)  # where a container keeps its weights: periodic files, and the one called last
VOCABULARY, GLOBAL_ROWS, LOCAL_ROWS = (
    "global_vocabulary.npy",
    "global_codebook_embedding.pth",
    "local_codebook_embedding.pth",
)
# What a damaged file makes numpy, zipfile and pickle raise.
UNREADABLE = (EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError)
ARRAY_PARTS = {  # what an array of strings is made of, and nothing more
    (module, name): value
    for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    for name, value in (
        ("ndarray", np.ndarray),
        ("dtype", np.dtype),
        ("_reconstruct", np.empty(0).__reduce__()[0]),
    )
}

# Classes that a checkpoint names as keys of what its training kept; nothing of them is used.
IGNORED = ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",)


class Ignored:
    """Stands in for a class of `IGNORED`, which is not imported."""


@dataclass(frozen=True)
class OfficialFiles:
    """What the release's files hold.

    Attributes:
        checkpoint: path of the weights.
        layout: state_dict, model or bare: where in the file they were.
        weights: by the official names, without `module.`.
        vocabulary: the global words, in row order.
        global_rows: (V_g, D) of the codebook's file; None when there is none.
        local_rows: (V_l, D), likewise.
        hashes: sha256 of every file that was read, by name.
    """

    checkpoint: Path
    layout: str
    weights: Mapping[str, Tensor]
    vocabulary: tuple[str, ...]
    global_rows: Tensor | None
    local_rows: Tensor | None
    hashes: Mapping[str, str]

    @classmethod
    def read(cls, checkpoint: str | Path, codebooks: str | Path) -> OfficialFiles:
        """Read a checkpoint and the codebook folder beside it.

        Raises:
            V2LError: a file is missing, truncated, of another kind, or asks for code to be run.
        """
        checkpoint, codebooks = Path(checkpoint), Path(codebooks)
        if not codebooks.is_dir():
            raise V2LError(
                f"there is no folder {codebooks}",
                f"a folder with {VOCABULARY}, {GLOBAL_ROWS} and {LOCAL_ROWS}",
            )
        layout, weights = read_weights(checkpoint)
        vocabulary = read_vocabulary(codebooks / VOCABULARY)
        tables = {
            name: read_rows(codebooks / name)
            for name in (GLOBAL_ROWS, LOCAL_ROWS)
            if (codebooks / name).is_file()
        }
        hashes = {
            path.name: file_hash(path)
            for path in (checkpoint, *(codebooks / name for name in (VOCABULARY, *tables)))
        }
        return cls(
            checkpoint, layout, weights, vocabulary, tables.get(GLOBAL_ROWS), tables.get(LOCAL_ROWS), hashes
        )


def read_weights(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The weights of a checkpoint and the layout that they were found in.

    Raises:
        V2LError: the file cannot be read, or holds no weights.
    """
    loaded = read_pickle(path)
    layout = next(
        (name for name in LAYOUTS if isinstance(loaded, dict) and isinstance(loaded.get(name), dict)), "bare"
    )
    weights = loaded if layout == "bare" else loaded[layout]
    if (
        not isinstance(weights, dict)
        or not weights
        or not all(isinstance(value, Tensor) for value in weights.values())
    ):
        raise V2LError(
            f"{path} holds no weights",
            "a dict of tensors, bare or under " + " or ".join(LAYOUTS),
            "v2l-decode.pth",
        )
    if all(key.startswith("module.") for key in weights):
        weights = {key.removeprefix("module."): tensor for key, tensor in weights.items()}
    return layout, dict(weights)


def read_rows(path: Path) -> Tensor:
    """The rows of a codebook file, (V, D) as stored.

    Raises:
        V2LError: the file cannot be read, or holds no table of numbers.
    """
    rows = read_pickle(path)
    if not isinstance(rows, Tensor) or rows.ndim != 2 or not rows.is_floating_point():
        got = (
            f"a tensor {tuple(rows.shape)} of {rows.dtype}"
            if isinstance(rows, Tensor)
            else f"a {type(rows).__name__}"
        )
        raise V2LError(f"{path} holds {got}", "one tensor (words, width) of floats")
    return rows


def read_pickle(path: Path) -> Any:
    """What torch saved, with tensors on the CPU.

    Raises:
        V2LError: the file is missing or truncated, or its pickle names a class other than tensors,
            plain values and Namespace.
    """
    if not path.is_file():
        raise V2LError(f"there is no file {path}", "a file of the official release")
    try:
        with torch.serialization.safe_globals([Namespace, *((Ignored, name) for name in IGNORED)]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise refusal(path, found[1]) from error
        raise damage(path, error) from error
    except (RuntimeError, *UNREADABLE) as error:
        raise damage(path, error) from error


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """The words of a one-dimensional array of strings, stored plainly or as objects.

    Raises:
        V2LError: the file is missing or truncated, holds something else, or its pickle would run code.
    """
    if not path.is_file():
        raise V2LError(f"there is no file {path}", "the global words, as the official release has them")
    try:
        words = read_array(path)
    except (pickle.UnpicklingError, *UNREADABLE) as error:
        raise damage(path, error) from error
    if (
        not isinstance(words, np.ndarray)
        or words.ndim != 1
        or not all(isinstance(word, str) for word in words.tolist())
    ):
        raise V2LError(f"{path} holds no list of words", "a one-dimensional array of strings")
    return tuple(
        word.encode("utf-8", "replace").decode("utf-8") for word in words.tolist()
    )  # half of a character cannot be written


def read_array(path: Path) -> Any:
    """Read a numpy file; arrays of objects are read by an unpickler that allows only arrays."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        _, _, kind = header(file)
        if kind.hasobject:
            return ArrayUnpickler(file, path).load()
    return np.load(path, allow_pickle=False)


class ArrayUnpickler(pickle.Unpickler):
    """Reads arrays of strings and refuses everything else by name."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        """The class of an array's pickle by its name.

        Raises:
            V2LError: an array needs no such class.
        """
        if (module, name) not in ARRAY_PARTS:
            raise refusal(self.path, f"{module}.{name}")
        return ARRAY_PARTS[module, name]


def refusal(path: Path, name: str) -> V2LError:
    """The line for a pickle that wants more than data."""
    return V2LError(
        f"{path} asks to run {name}, and nothing in it was run",
        "tensors, plain values and argparse.Namespace",
        "another copy",
    )


def damage(path: Path, error: Exception) -> V2LError:
    """The line for a file that cannot be read to its end."""
    reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    return V2LError(
        f"{path} is truncated or of another kind ({reason})",
        "a file of the official release, whole",
        "another copy of it",
    )

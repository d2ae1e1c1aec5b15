"""Pickles are read as data: nothing in them is run, and what is damaged is named."""

from __future__ import annotations

import os
import pickle
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_release import SMALL, random_weights, write_release

from v2l.errors import V2LError
from v2l.official.files import OfficialFiles, read_pickle, read_vocabulary, read_weights


class Harmless:
    """A pickle of this would make a folder when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("layout", ["state_dict", "model", "bare", "wrapped"])
def test_every_layout_gives_the_same_weights(layout: str, tmp_path: Path) -> None:
    weights = random_weights(SMALL)
    found, read = read_weights(write_release(tmp_path, weights, layout).checkpoint)
    assert found == {"wrapped": "state_dict"}.get(layout, layout)
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items())


def test_a_namespace_is_plain_data(tmp_path: Path) -> None:
    torch.save(
        {"model": OrderedDict(a=torch.ones(2)), "args": Namespace(lr=1e-3, nested=Namespace(x=[1, "a"]))},
        tmp_path / "a.pth",
    )
    assert read_pickle(tmp_path / "a.pth")["args"].nested.x == [1, "a"]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_wants_to_run_code_is_refused_and_nothing_runs(zipped: bool, tmp_path: Path) -> None:
    hostile = {"state_dict": {"encoder.conv_in.weight": torch.ones(1)}, "args": Harmless(tmp_path / "made")}
    torch.save(hostile, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        V2LError, match=r"a\.pth asks to run (posix|nt)\.mkdir, and nothing in it was run"
    ) as refused:
        read_weights(tmp_path / "a.pth")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "made").exists()


def test_a_namespace_cannot_carry_code_in(tmp_path: Path) -> None:
    torch.save({"args": Namespace(hidden=Harmless(tmp_path / "made"))}, tmp_path / "a.pth")
    with pytest.raises(V2LError, match="asks to run"):
        read_pickle(tmp_path / "a.pth")
    assert not (tmp_path / "made").exists()


def test_a_vocabulary_that_wants_to_run_code_is_refused(tmp_path: Path) -> None:
    np.save(
        tmp_path / "global_vocabulary.npy",
        np.array(["dog", Harmless(tmp_path / "made")], dtype=object),
        allow_pickle=True,
    )
    with pytest.raises(V2LError, match=r"asks to run .*mkdir"):
        read_vocabulary(tmp_path / "global_vocabulary.npy")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kind", [object, str])
def test_a_vocabulary_is_strings_however_it_is_stored(kind: type, tmp_path: Path) -> None:
    words = ["dog", "reddress", "猫", "", " a\n"]
    np.save(tmp_path / "words.npy", np.array(words, dtype=kind), allow_pickle=True)
    assert read_vocabulary(tmp_path / "words.npy") == tuple(words)


@pytest.mark.parametrize("older", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_a_vocabulary_of_any_numpy_is_read(older: str, tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", np.array(["dog", "cat"], dtype=object), allow_pickle=True)
    written = (tmp_path / "words.npy").read_bytes()
    start = written.index(b"\x80")
    names = pickle.dumps(
        np.array(["dog", "cat"], dtype=object), protocol=3
    )  # names as lines, as older numpy wrote them
    current = next(name for name in (b"numpy._core.multiarray", b"numpy.core.multiarray") if name in names)
    (tmp_path / "words.npy").write_bytes(written[:start] + names.replace(current, older.encode()))
    assert read_vocabulary(tmp_path / "words.npy") == ("dog", "cat")


@pytest.mark.parametrize(
    "words", [np.arange(4), np.array([["a"]]), np.array(["a", 1], dtype=object), np.array("a")]
)
def test_what_is_no_list_of_words_is_refused(words: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", words, allow_pickle=True)
    with pytest.raises(V2LError, match="no list of words"):
        read_vocabulary(tmp_path / "words.npy")


@pytest.mark.parametrize(
    "name",
    [
        "v2l-decode.pth",
        "global_vocabulary.npy",
        "global_codebook_embedding.pth",
        "local_codebook_embedding.pth",
    ],
)
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.6, 0.999])
def test_a_truncated_file_is_named(name: str, kept: float, tmp_path: Path) -> None:
    release = write_release(tmp_path, random_weights(SMALL))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(V2LError, match=rf"{name} is truncated or of another kind") as refused:
        OfficialFiles.read(release.checkpoint, release.codebooks)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, {"state_dict": {"a": 1}}, [1, 2], {"epoch": 3}])
def test_a_file_without_weights_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(V2LError, match="holds no weights"):
        read_weights(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [(torch.zeros(3), "a tensor"), (torch.zeros(2, 2, dtype=torch.int64), "int64"), ([1], "list")],
)
def test_a_codebook_that_is_no_table_is_refused(content: object, message: str, tmp_path: Path) -> None:
    release = write_release(tmp_path, random_weights(SMALL))
    torch.save(content, tmp_path / "local_codebook_embedding.pth")
    with pytest.raises(V2LError, match=message):
        OfficialFiles.read(release.checkpoint, release.codebooks)


def test_missing_files_are_named(tmp_path: Path) -> None:
    release = write_release(tmp_path / "release", random_weights(SMALL))
    with pytest.raises(V2LError, match=r"there is no file .*nothing"):
        OfficialFiles.read(tmp_path / "nothing", release.codebooks)
    with pytest.raises(V2LError, match="there is no folder"):
        OfficialFiles.read(release.checkpoint, tmp_path / "nothing")
    (release.codebooks / "global_vocabulary.npy").unlink()
    with pytest.raises(V2LError, match=r"there is no file .*global_vocabulary\.npy"):
        OfficialFiles.read(release.checkpoint, release.codebooks)

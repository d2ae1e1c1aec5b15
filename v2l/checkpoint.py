"""weights and settings ⇄ a directory that is complete, of a known kind, and unchanged since it was written.

A directory holds safetensors (never pickle) and `manifest.json`: its kind, the schema version, entries of the
writer, and the size and sha256 of every other file. It is written under a temporary name, flushed, and
renamed; reading checks all of that.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from v2l.errors import V2LError
from v2l.files import flush, report_disk, require_space, temporary_beside, write_file, write_text

MANIFEST = "manifest.json"


@contextmanager
def write_directory(target: str | Path) -> Iterator[Path]:
    """Give a temporary directory, which becomes `target` if the block ends without an error.

    After an error, an older `target` stays as it was. Errors of the block are raised unchanged.

    Raises:
        V2LError: the disk is full or cannot be written, or `target` is a mount point or holds something that
            v2l did not write.
    """
    final = Path(target).resolve()
    with report_disk(target):
        _refuse_foreign(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(final)
        temporary.mkdir()
    try:
        yield temporary
        with report_disk(target):
            for path in [*temporary.rglob("*"), temporary]:
                flush(path)
            _replace_directory(temporary, final)
            flush(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors to one safetensors file; returns its sha256.

    Raises:
        V2LError: the disk is full or cannot be written.
    """
    require_space(path, sum(tensor.nbytes for tensor in tensors.values()))
    with write_file(path) as temporary:
        try:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary
            )
        except SafetensorError as error:
            raise V2LError(
                f"could not write {path}: {error}", "a place that can be written, on a disk with room"
            ) from error
        return file_hash(temporary)


def load_tensors(path: str | Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Read a safetensors file to the CPU, and check its sha256 when one is given.

    Raises:
        V2LError: the file is missing, truncated, no safetensors file, or another one than `sha256` names.
    """
    path = Path(path)
    if not path.is_file():
        raise V2LError(f"there is no file {path}", "a safetensors file", "v2l doctor")
    if sha256 is not None:
        _check_hash(path, sha256)
    try:
        return _load(path)
    except (SafetensorError, OSError) as error:
        raise V2LError(
            f"{path} is truncated or no safetensors file ({error})", run="write or fetch it again"
        ) from error


def write_manifest(directory: str | Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a filled directory.

    It holds `manifest` (with its `kind` and `schema`), and the size and sha256 of every file.
    """
    if not {"kind", "schema"} <= manifest.keys() or "files" in manifest:
        raise ValueError("a manifest names its kind and its schema, and leaves its files to write_manifest")
    directory = Path(directory)
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / MANIFEST)
    files = {
        path.relative_to(directory).as_posix(): {"bytes": path.stat().st_size, "sha256": file_hash(path)}
        for path in paths
    }
    write_text(
        directory / MANIFEST, json.dumps({**manifest, "files": files}, indent=2, ensure_ascii=False) + "\n"
    )


def read_manifest(directory: str | Path, kind: str, schema: int) -> dict[str, Any]:
    """The manifest of a directory, once every file that it names is there and unchanged.

    Raises:
        V2LError: something is missing, truncated or changed, or the directory is of another kind or schema.
    """
    directory = Path(directory)
    manifest = _parse(directory, kind)
    for key, wanted in (("kind", kind), ("schema", schema)):
        if manifest.get(key) != wanted:
            raise V2LError(
                f"{directory} has {key} {manifest.get(key)!r}", f"{key} {wanted!r} ({kind})", "v2l doctor"
            )
    for name, entry in manifest["files"].items():
        _check_file(directory / name, entry)
    return manifest


def manifest_kind(directory: str | Path, wanted: str) -> Any:
    """The kind that a directory's manifest names, before any of its files is checked.

    Args:
        directory: what `write_manifest` described.
        wanted: the kind of directory that error lines name.

    Raises:
        V2LError: there is no manifest, or it is damaged.
    """
    return _parse(Path(directory), wanted).get("kind")


def file_hash(path: str | Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; safetensors opens no path with bytes that are no UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return load(path.read_bytes())
    return load_file(path)


def _parse(directory: Path, kind: str) -> dict[str, Any]:
    path = directory / MANIFEST
    if not path.is_file():
        found = f"holds no {MANIFEST}" if directory.is_dir() else "is no directory"
        raise V2LError(
            f"{directory} {found}", f"a directory of the kind {kind}, as v2l writes it", "v2l doctor"
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise V2LError(f"{path} is truncated or no JSON ({error})", f"the manifest of a {kind}") from error
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or not all(
        isinstance(entry, dict) and {"bytes", "sha256"} <= entry.keys() for entry in files.values()
    ):
        raise V2LError(f"{path} does not list its files", f"the manifest of a {kind}")
    return manifest


def _check_file(path: Path, entry: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise V2LError(
            f"{path} is missing, though the manifest beside it names it",
            run="write or fetch the directory again",
        )
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise V2LError(
            f"{path} has {size:,} bytes",
            f"{entry['bytes']:,} bytes, by the manifest",
            "write or fetch the directory again",
        )
    _check_hash(path, entry["sha256"])


def _check_hash(path: Path, sha256: str) -> None:
    found = file_hash(path)
    if found != sha256:
        raise V2LError(
            f"{path} has sha256 {found[:12]}…",
            f"{sha256[:12]}…, as it was written",
            "write or fetch it again",
        )


def _refuse_foreign(final: Path) -> None:
    """A directory is replaced whole, so only one that v2l wrote may be, and the system must let it go."""
    if final.is_mount():
        raise V2LError(
            f"{final} is a mount point, which cannot be replaced",
            "a directory in it, or elsewhere",
            f"-o {final / 'result'}",
        )
    if final.is_dir() and any(final.iterdir()) and not (final / MANIFEST).is_file():
        raise V2LError(
            f"{final} holds files that v2l did not write",
            "a new or empty directory, or one of v2l's own to replace",
        )
    if final.exists() and not final.is_dir():
        raise V2LError(f"{final} is a file", "a new or empty directory, or one of v2l's own to replace")


def _replace_directory(temporary: Path, final: Path) -> None:
    if not final.exists():
        temporary.replace(final)
        return
    old = temporary_beside(final)
    final.replace(old)
    try:
        temporary.replace(final)
    except BaseException:  # Ctrl-C too: the old directory gets its name back
        old.replace(final)
        raise
    shutil.rmtree(old, ignore_errors=True)

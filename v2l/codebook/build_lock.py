"""target directory + settings of a build ──► permission to start or continue, or an error.

The error names the setting that differs.

The shards of two builds are never mixed, because their names are hashes of everything that they depend on.
What this file protects is the user's time and the target: without it, a build with other settings would
silently start from the beginning, or replace an older build.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from v2l.checkpoint import MANIFEST
from v2l.errors import V2LError
from v2l.files import write_text

LOCKED_SECTIONS = ("source", "config")  # sections of the manifest that must be equal when a build continues
NAMES = ("llm", "encoder")  # not compared: a model may be moved, its fingerprint shows whether it is the same


@contextmanager
def locked_settings(
    target: str | Path, work: Path, manifest: Mapping[str, Any], replace_other: bool
) -> Iterator[None]:
    """Refuse to continue a build with other settings.

    The settings are in a file while the build runs, and after it was stopped.

    Args:
        target: the directory that is written when the build is complete.
        work: the folder that keeps the settings until then.
        manifest: what the manifest of the target will contain: kind, source, config.
        replace_other: continue even if the settings differ.

    Raises:
        V2LError: the target is of another kind, or was started or finished with other settings.
    """
    manifest = json.loads(json.dumps(manifest))  # tuples become lists, as in the files to compare with
    note = work / f"begun-{hashlib.sha256(bytes(Path(target).resolve())).hexdigest()[:24]}.json"
    finished = _read(Path(target) / MANIFEST)
    if finished and finished.get("kind") != manifest["kind"]:
        raise V2LError(
            f"{target} is of kind {finished.get('kind')!r}",
            f"a new directory, or one of kind {manifest['kind']!r}",
            "another -o",
        )
    if not replace_other:
        _refuse_differences(f"{target} was built", finished, manifest)
        _refuse_differences(f"a build to {target} was started", _read(note), manifest)
    write_text(note, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    try:
        yield
    except Exception:  # the build failed; only a build that was stopped (Ctrl-C, kill) can be continued
        note.unlink(missing_ok=True)  # another build to the same target may have ended first
        raise
    note.unlink(missing_ok=True)


def _refuse_differences(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Compare two manifests key by key; a key that the old one lacks is not compared."""
    for section in LOCKED_SECTIONS:
        for key, value in new[section].items():
            before = old.get(section, {}).get(key, value)
            if before != value and key not in NAMES:
                raise V2LError(
                    f"{what} with {key} = {before!r}, and now it is {value!r}",
                    "the same settings when a build continues",
                    "--replace, or another -o",
                )


def _read(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty when there is no readable one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

"""target + settings ──► whether a build may go on there: refused when it was begun, or finished, with other settings.

Finished parts are never mixed, whatever the settings: their names are hashes of all that they depend on. What is guarded here is the
user's time and the target: a build that would quietly start from nothing, or replace another one.
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
from v2l.files import write_file

GUARDED = ("source", "config")  # what must be the same when a build goes on
NAMES = ("llm", "encoder")  # a model may be moved: its fingerprint tells whether it is the same


@contextmanager
def begun(target: str | Path, work: Path, manifest: Mapping[str, Any], replace_other: bool) -> Iterator[None]:
    """Keep a note, while a build runs and after it was stopped, of the settings that it was begun with.

    Args:
        target: the directory to be written when all is done.
        work: where the note is kept until then.
        manifest: what the target's own manifest will say: kind, source, config.
        replace_other: go on whatever the settings were.

    Raises:
        V2LError: the target holds something else, or was begun or finished with other settings.
    """
    manifest = json.loads(json.dumps(manifest))  # tuples become lists, as on disk
    note = work / f"begun-{hashlib.sha256(bytes(Path(target).resolve())).hexdigest()[:24]}.json"
    finished = _read(Path(target) / MANIFEST)
    if finished and finished.get("kind") != manifest["kind"]:
        raise V2LError(
            f"{target} is of kind {finished.get('kind')!r}",
            f"a new directory, or one of kind {manifest['kind']!r}",
            "another -o",
        )
    if not replace_other:
        _refuse_others(f"{target} was built", finished, manifest)
        _refuse_others(f"a build to {target} was begun", _read(note), manifest)
    with write_file(note) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    try:
        yield
    except Exception:  # it failed and was not stopped: there is nothing to go on with
        note.unlink()
        raise
    note.unlink()


def _refuse_others(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for section in GUARDED:
        for key, value in new[section].items():
            before = old.get(section, {}).get(key, value)
            if before != value and key not in NAMES:
                raise V2LError(
                    f"{what} with {key} = {before!r}, and now it is {value!r}",
                    "the same settings when a build goes on",
                    "--replace, or another -o",
                )


def _read(path: Path) -> dict[str, Any]:
    """A manifest or a note; empty when there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

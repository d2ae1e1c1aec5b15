"""long evaluation ⇄ JSON lines, one record for each item: a stopped run continues after the last record."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from v2l.errors import V2LError
from v2l.files import report_disk
from v2l.llm.endpoint import Endpoint
from v2l.pipeline.pipeline import Pipeline
from v2l.sources import ImageFile, image_size

Record = dict[str, Any]
LLM = "llm"  # the metadata's key for what `identify_llm` gives
WEIGHTS = "tokenizer_weights"  # its key for the tokenizer's fingerprint, which training changes
OTHER_LOG = "another --log"
HEAD = b'{"facts"'  # how a journal begins


@dataclass
class Journal:
    """The records of one evaluation, in the order in which they were made.

    Attributes:
        path: the file; None keeps the records in memory only.
        records: the records that exist already.
        size: bytes of the file after the last record that this run knows of.
    """

    path: Path | None = None
    records: list[Record] = field(default_factory=list)
    size: int = 0

    @classmethod
    def open(cls, path: str | Path | None, metadata: Mapping[str, Any]) -> Self:
        """Start a journal, or continue an existing one; an incomplete last line is dropped.

        Args:
            path: the file; None keeps the records in memory only.
            metadata: settings, pipeline, LLM and data, which must be equal when an evaluation continues.

        Raises:
            V2LError: the file is no journal, has other metadata, or cannot be written.
        """
        if path is None:
            return cls()
        path = Path(path)
        now = json.loads(json.dumps(metadata))  # tuples become lists, as in the file
        before, records, size = _read(path) if path.exists() else (None, [], 0)
        if before is not None:
            _check_llm(path, before, now)
            _check_metadata(path, before, now)
        journal = cls(path, records, size)
        with report_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > size:
                os.truncate(path, size)  # without an incomplete last line
        if before is None:
            journal._write({"facts": now})
        return journal

    def append(self, record: Record) -> None:
        """Add one record; it is on disk when this returns.

        Raises:
            V2LError: the disk is full or cannot be written, or another run writes into the same file.
        """
        self.records.append(record)
        self._write(record)

    def _write(self, record: Record) -> None:
        """Add one line to the file; half an emoji and a name that is no UTF-8 are written as escapes."""
        if self.path is None:
            return
        line = json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        with report_disk(self.path), self.path.open("ab") as file:
            if file.tell() != self.size:
                raise V2LError(f"another run writes into {self.path}", "one run for each journal", OTHER_LOG)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.size += len(line)


def identify_llm(pipeline: Pipeline, endpoint: Endpoint | None = None) -> Record:
    """Which LLM makes the records of a journal.

    The name of the codebook's LLM is not enough, because several LLMs share one vocabulary. The hash of the
    weights differs for another training, another precision and another adapter.

    Args:
        pipeline: tokenizer and LLM; the LLM is loaded to read its weights.
        endpoint: a server whose LLM answers in place of the pipeline's. Its weights are not known.
    """
    if endpoint is not None:
        return {"name": endpoint.model_name, "endpoint": endpoint.name}
    adapter = None if pipeline.adapter is None else str(pipeline.adapter)
    return {
        "name": pipeline.llm.name,
        "weights_fingerprint": pipeline.llm.weights_fingerprint,
        "adapter": adapter,
    }


def files_metadata(files: Sequence[ImageFile]) -> Record:
    """The number of files, and a hash of their names and sizes in their order."""
    listed = "\n".join(f"{file} {image_size(file)}" for file in files)
    fingerprint = hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()[:16]
    return {"n": len(files), "fingerprint": fingerprint}


def _read(path: Path) -> tuple[Record | None, list[Record], int]:
    """The metadata, the records and the bytes of the complete lines; no metadata in a file without any."""
    content = path.read_bytes()
    size = content.rfind(b"\n") + 1
    if not size and HEAD.startswith(content[: len(HEAD)]):
        return None, [], 0  # empty, or stopped within its first line
    lines = content[:size].decode(errors="replace").split("\n")[:-1]  # splitlines() also splits at U+2028
    try:
        head, *records = [json.loads(line) for line in lines]
        return head["facts"], records, size
    except (ValueError, KeyError, TypeError) as error:
        raise V2LError(
            f"{path} is no journal of an evaluation", "a new file, or one that v2l evaluate wrote", OTHER_LOG
        ) from error


def _check_llm(path: Path, before: Record, now: Record) -> None:
    """Refuse a journal that another LLM began, or that does not say which LLM began it."""
    if LLM not in now or before.get(LLM) == now[LLM]:
        return
    if LLM not in before:
        raise V2LError(
            f"{path} does not say which LLM made its records, because an older version of v2l began it, "
            f"and this run uses {_llm_text(now[LLM])}",
            "a journal that names its LLM",
            OTHER_LOG,
        )
    raise V2LError(
        f"{path} was begun with {_llm_text(before[LLM])}, and this run uses {_llm_text(now[LLM])}",
        "one LLM for the whole journal, of equal weights, precision and adapter",
        f"{OTHER_LOG}, or as in the first run: {_llm_options(before[LLM])}",
    )


def _llm_text(llm: Record) -> str:
    """The identity of an LLM in words."""
    parts = [f"weights {llm['weights_fingerprint']}"] if llm.get("weights_fingerprint") else []
    parts += [f"adapter {llm['adapter']}"] if llm.get("adapter") else []
    parts += [f"at {llm['endpoint']}"] if llm.get("endpoint") else []
    return f"the LLM {llm.get('name')!r} ({', '.join(parts)})"


def _llm_options(llm: Record) -> str:
    """The options that choose this LLM."""
    if llm.get("endpoint"):
        return f"--endpoint {llm['endpoint']} --endpoint-model {llm.get('name')}"
    adapter = f" --adapter {llm['adapter']}" if llm.get("adapter") else ""
    return f"--llm {llm.get('name')}{adapter} with its --dtype"


def _check_metadata(path: Path, before: Record, now: Record) -> None:
    """Refuse a journal whose metadata differ, with the first name that does and both values."""
    old_values, new_values = dict(_leaves(before)), dict(_leaves(now))
    for name in sorted(old_values.keys() | new_values.keys()):
        old, new = old_values.get(name), new_values.get(name)
        if old != new:
            raise V2LError(
                f"{path} was begun with {name} = {old!r}, and this run has {new!r}",
                "the same settings, images and models when an evaluation continues",
                f"{OTHER_LOG}, or the settings of the first run",
            )


def _leaves(metadata: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no object, with the path of its keys."""
    if not isinstance(metadata, dict):
        yield name, metadata
        return
    for key, value in metadata.items():
        yield from _leaves(value, f"{name}.{key}" if name else key)

"""a shard ──► its files: tokens, what could not be read, and a receipt with counts and hashes.

The receipt is written last. A shard with a receipt is done; any other shard is computed again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from v2l.checkpoint import file_hash
from v2l.engines.work import Report
from v2l.tokenization.batch import Row, tokenize_samples
from v2l.tokenization.plan import Settings, Shard
from v2l.tokenization.reader import read_files
from v2l.tokenization.samples import Refused, Sample
from v2l.tokenization.schema import ERRORS, in_utf8, table_schema
from v2l.tokenization.storage import Storage
from v2l.tokenization.writer import WRITERS, RowWriter
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.registry import Member, register_tokenizer

REPORT_EVERY = 64  # images


@dataclass(frozen=True)
class Job:
    """What a worker needs besides its shards; plain data, for other processes and machines.

    Attributes:
        output: the folder's address.
        settings: of the output.
        metadata: what made the tokens, for the files.
        member: the tokenizer's row in the registry, because a worker may not have imported its package.
        checkpoint: folder of the tokenizer's weights.
        device: as in `choose_device`.
        in_memory: decoded images that wait for the tokenizer at most.
        length: tokens of an image; None is what the tokenizer writes by itself.
    """

    output: str
    settings: Settings
    metadata: dict[str, Any]
    member: Member
    checkpoint: Path
    device: str = "auto"
    in_memory: int = 32
    length: int | None = None

    @cached_property
    def storage(self) -> Storage:
        """The folder of the output."""
        return Storage(self.output)

    @property
    def writer(self) -> type[RowWriter]:
        """What writes the shards."""
        return WRITERS[self.settings.format]

    def load(self) -> ImageTokenizer:
        """The tokenizer."""
        member = self.member
        register_tokenizer(member.name, member.home, member.gives, member.kind, member.weights)
        tokenizer: ImageTokenizer = member.load_class().from_pretrained(self.checkpoint, self.device)
        if self.length is not None:
            tokenizer = tokenizer.with_length(self.length)
        if self.settings.compiled:
            for part in tokenizer.children():
                part.compile()
        return tokenizer

    def run(self, models: ImageTokenizer, item: Shard, report: Report) -> dict[str, Any]:
        """The receipt of a shard, whose files are written."""
        return tokenize_shard(self, models, item, report)


def data_name(number: int, writer: type[RowWriter]) -> str:
    """The file of a shard's tokens."""
    return f"part-{number:06d}{writer.suffix}"


def receipt_name(number: int) -> str:
    """The file of a shard's receipt."""
    return f"receipts/part-{number:06d}.json"


def errors_name(number: int) -> str:
    """The file of what could not be read in a shard."""
    return f"errors/errors-{number:06d}.parquet"


@dataclass
class Counts:
    """What a shard, or a whole run, holds.

    Attributes:
        images: rows.
        reasons: entries of the side table by their reason.
    """

    images: int
    reasons: Counter[str]


def read_receipt(output: Storage, number: int) -> dict[str, Any] | None:
    """The receipt of a shard whose files are there with their sizes; None if the shard is to be computed."""
    if not output.exists(receipt_name(number)):
        return None
    try:
        receipt: dict[str, Any] = json.loads(output.read(receipt_name(number)))
        whole = all(output.size(name) == entry["bytes"] for name, entry in receipt["files"].items())
    except (ValueError, KeyError, TypeError):
        return None
    return receipt if whole else None


def count_images(output: Storage) -> int:
    """The images of all shards that have a receipt."""
    names = output.names("receipts/part-*.json")
    return sum(int(json.loads(output.read(name))["images"]) for name in names)


def tokenize_shard(job: Job, tokenizer: ImageTokenizer, shard: Shard, report: Report) -> dict[str, Any]:
    """Compute one shard, write its files, and return its receipt.

    Raises:
        V2LError: the output cannot be written.
    """
    done = read_receipt(job.storage, shard.number)
    if done is not None:
        return done
    refused: list[Refused] = []
    files: dict[str, dict[str, Any]] = {}
    name = data_name(shard.number, job.writer)
    with job.storage.write(name) as path:
        rows = tokenize_samples(tokenizer, distinct(read(shard), refused), job.settings, job.in_memory)
        images = _write_rows(job, path, rows, refused, report)
        if refused:
            files |= _write_errors(job.storage, shard.number, refused)
        else:
            job.storage.delete(errors_name(shard.number))
        files[name] = {"bytes": path.stat().st_size, "sha256": file_hash(path)}
    reasons = Counter(entry.reason for entry in refused)
    receipt = {
        "shard": shard.number,
        "images": images,
        "reasons": dict(sorted(reasons.items())),
        "files": files,
    }
    job.storage.write_bytes(receipt_name(shard.number), json.dumps(receipt, indent=1).encode() + b"\n")
    return receipt


def read(shard: Shard) -> Iterator[Sample | Refused]:
    """The images of a shard."""
    if shard.problem:
        return iter([Refused(shard.files[0].name, "unreadable", shard.problem)])
    return read_files(shard.files, shard.start, shard.stop)


def distinct(found: Iterator[Sample | Refused], refused: list[Refused]) -> Iterator[Sample | Refused]:
    """Give the second and later images of one id the suffix #2, #3, …, and note it in the side table."""
    seen: Counter[str] = Counter()
    for sample in found:
        seen[sample.id] += 1
        if seen[sample.id] > 1 and isinstance(sample, Sample):
            name = f"{sample.id}#{seen[sample.id]}"
            refused.append(Refused(sample.id, "duplicate id", f"renamed to {name}; its tokens are kept"))
            sample = replace(sample, id=name)
        yield sample


def _write_rows(
    job: Job, path: Path, rows: Iterator[Row | Refused], refused: list[Refused], report: Report
) -> int:
    images = unreported = 0
    schema = table_schema(job.settings.vectors, job.metadata, "embeddings" in job.member.gives)
    with job.writer(path, schema) as writer:
        for row in rows:
            unreported += 1
            if isinstance(row, Refused):
                refused.append(row)
            else:
                writer.add(row)
                images += 1
            if unreported == REPORT_EVERY:
                report(unreported)
                unreported = 0
    report(unreported)
    return images


def _write_errors(output: Storage, number: int, refused: list[Refused]) -> dict[str, dict[str, Any]]:
    """Write the side table, sorted by id: reasons come in the order in which threads found them."""
    rows = [
        {name: in_utf8(text) for name, text in vars(entry).items()}
        for entry in sorted(refused, key=lambda entry: (entry.id, entry.reason, entry.detail))
    ]
    with output.write(errors_name(number)) as path:
        pq.write_table(pa.Table.from_pylist(rows, schema=ERRORS), path, compression="zstd")
        return {errors_name(number): {"bytes": path.stat().st_size, "sha256": file_hash(path)}}

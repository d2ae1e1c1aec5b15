"""a folder of tokens ──► a report: every file is there, unchanged, with as many rows as its receipt says."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from v2l.errors import V2LError
from v2l.progress import Progress, silent
from v2l.tokenization.plan import read_run
from v2l.tokenization.storage import Storage
from v2l.tokenization.worker import data_name, read_receipt, receipt_name
from v2l.tokenization.writer import WRITERS, RowWriter

CHUNK = 1 << 20


@dataclass
class Report:
    """What `verify` found.

    Attributes:
        images: rows that were read.
        shards: shards that are whole.
        problems: a line for each shard that is missing or damaged.
        damaged: the numbers of these shards.
        duplicates: ids that several shards hold.
        first_duplicates: a few of them.
    """

    images: int = 0
    shards: int = 0
    problems: list[str] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    duplicates: int = 0
    first_duplicates: list[str] = field(default_factory=list)


def verify(url: str, progress: Progress = silent) -> Report:
    """Read a whole folder again.

    Ids are kept in memory as 8-byte hashes: about 60 bytes an image in Python.

    Raises:
        V2LError: the folder is none of `v2l tokenize`.
    """
    output = Storage(url)
    manifest = read_run(output)
    writer = WRITERS[manifest["settings"]["format"]]
    shards = manifest["shards"]
    seen: set[bytes] = set()
    report = Report()
    for number in range(shards):
        problem = _check_shard(output, number, writer, report, seen)
        if problem:
            report.problems.append(f"shard {number}: {problem}")
            report.damaged.append(number)
        else:
            report.shards += 1
        progress("verify", number + 1, shards)
    return report


def forget_damaged(report: Report, url: str) -> None:
    """Delete the receipts of damaged shards, so that the same command computes these shards again."""
    output = Storage(url)
    for number in report.damaged:
        output.delete(receipt_name(number))


def require_whole(report: Report, url: str) -> None:
    """Refuse a folder with problems.

    Raises:
        V2LError: naming the first.
    """
    if report.problems:
        raise V2LError(
            f"{url} has {len(report.problems)} missing or damaged shard(s); the first: {report.problems[0]}",
            "the files as they were written",
            "v2l tokenize with the same options: it computes them again",
        )


def _check_shard(
    output: Storage, number: int, writer: type[RowWriter], report: Report, seen: set[bytes]
) -> str:
    """What is wrong with a shard; "" when nothing is."""
    data = data_name(number, writer)
    receipt = read_receipt(output, number)
    if receipt is None:
        return "no receipt, or a file has another size"
    for name, entry in receipt["files"].items():
        if _hash(output, name) != entry["sha256"]:
            return f"{name} was changed after it was written"
    rows = 0
    with output.open(data) as file:
        for row in writer.read(file):
            rows += 1
            _note_id(row["id"], report, seen)
    report.images += rows
    return (
        "" if rows == receipt["images"] else f"{data} has {rows} rows, its receipt says {receipt['images']}"
    )


def _note_id(name: str, report: Report, seen: set[bytes]) -> None:
    key = hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8]
    if key in seen:
        report.duplicates += 1
        report.first_duplicates = [*report.first_duplicates, name][:3]
    seen.add(key)


def _hash(output: Storage, name: str) -> str:
    digest = hashlib.sha256()
    with output.open(name) as file:
        while content := file.read(CHUNK):
            digest.update(content)
    return digest.hexdigest()


def counts_line(reasons: Counter[str] | dict[str, int]) -> str:
    """Counts by reason for people: "2 unreadable, 1 duplicate id"."""
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())

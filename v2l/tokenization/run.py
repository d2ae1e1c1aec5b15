"""places ──► a folder of tokens: plan, engine, counts. The same call goes on where it was stopped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from v2l.checkpoint import MANIFEST, file_hash
from v2l.device import choose_device
from v2l.engines.engine import Engine
from v2l.engines.work import Event
from v2l.errors import V2LError
from v2l.progress import Progress, silent
from v2l.tokenization.places import fingerprint
from v2l.tokenization.plan import FORMATS, PRECISIONS, Plan, Settings, Shard, agree, describe, make_plan
from v2l.tokenization.storage import Storage
from v2l.tokenization.worker import Counts, Job, read_receipt
from v2l.tokenizers.loading import load_tokenizer, locate_tokenizer, split_length

SUMMARY = "summary.json"
IMAGES = "images"  # the step of the progress; members of archives are not counted before they are read
GPU_BATCH = 64  # images in one forward pass on a GPU
CPU_BATCH = 8


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        places: see `v2l.tokenization.places.ALLOWED`.
        output: a folder or an address in a bucket.
        tokenizer: a name or a checkpoint's folder, or one with a number of tokens; None is the V2L grid.
        engine: a name of `v2l.engines.engine.ENGINES`.
        workers: processes or actors; None: one for each core, or for each GPU.
        in_memory: decoded images that wait in each worker.
        settings: of the output; `forward_batch` is chosen by the device.
        device: as in `choose_device`.
    """

    places: Sequence[str]
    output: str
    tokenizer: str | None = None
    engine: str = "local"
    workers: int | None = None
    in_memory: int = 32
    settings: Settings = field(default_factory=Settings)
    device: str = "auto"


@dataclass(frozen=True)
class Summary:
    """A finished run.

    Attributes:
        images: rows of the output.
        reasons: entries of the side tables by reason.
        shards: number of shards.
        resumed: how many of them were there already.
        sha256: hash over the hashes of all files, equal for equal output.
        lost: shards during which workers died again and again; they are missing in the output.
    """

    images: int
    reasons: dict[str, int]
    shards: int
    resumed: int
    sha256: str
    lost: tuple[int, ...] = ()


def tokenize(request: Request, progress: Progress = silent) -> Summary:
    """Tokenize all images of some places.

    Raises:
        V2LError: input, output, checkpoint or settings are not as they must be; see the parts of this folder.
    """
    check_request(request)
    engine = Engine(request.engine, request.workers, request.device)
    output = Storage(request.output)
    name, length = split_length(request.tokenizer)
    member, checkpoint = locate_tokenizer(name)
    if length is not None:
        load_tokenizer(request.tokenizer, "cpu")  # refuses a wrong length before the folder is begun
    tokenizer = {
        "name": member.name,
        "checkpoint": str(request.tokenizer or member.name),
        "fingerprint": file_hash(checkpoint / MANIFEST)[:16],
        "length": length,
    }
    plan = make_plan(request.places, request.settings.shard)
    with output.locked():
        agree(output, describe(plan, request.places, request.settings, tokenizer))
        metadata = {"schema": 1, "tokenizer": member.name, "checkpoint": tokenizer["fingerprint"]}
        job = Job(
            request.output,
            request.settings,
            metadata,
            member,
            checkpoint,
            request.device,
            request.in_memory,
            length,
        )
        run = Run(job, plan)
        with output.swept():
            run.collect(engine.run(job, run.missing()), progress)
        return run.finish()


def check_request(request: Request) -> None:
    """Refuse unknown names.

    Raises:
        V2LError: naming the allowed ones.
    """
    for option, value, allowed in (
        ("format", request.settings.format, FORMATS),
        ("precision", request.settings.precision, PRECISIONS),
    ):
        if value not in allowed:
            raise V2LError(f"got --{option} {value}", ", ".join(allowed), f"--{option} {allowed[0]}")


def forward_batch(device: str) -> int:
    """Images in one forward pass on a device."""
    return CPU_BATCH if choose_device(device).type == "cpu" else GPU_BATCH


class Run:
    """The shards of a run, and the counts of those that are done.

    Args:
        job: where the output is.
        plan: the shards.
    """

    def __init__(self, job: Job, plan: Plan) -> None:
        self.job, self.shards = job, plan.shards
        self.counts = Counts(0, Counter())
        self.hashes: dict[int, str] = {}
        self.resumed = self.expected = 0
        self.lost: list[int] = []

    def missing(self) -> list[Shard]:
        """The shards without a receipt; those with one are counted."""
        missing = []
        for shard in self.shards:
            receipt = read_receipt(self.job.storage, shard.number)
            if receipt is None:
                missing.append(shard)
            else:
                self._count(receipt)
        self.resumed = len(self.hashes)
        self.expected = sum(len(shard.files) for shard in missing if shard.stop == 0)
        return missing

    def collect(self, events: Iterator[Event], progress: Progress) -> None:
        """Count what the engine reports."""
        done = 0
        for kind, value in events:
            if kind == "images":
                done += value
                progress(IMAGES, done, max(done, self.expected))
            elif kind == "result":
                self._count(value)
                progress("shards", len(self.hashes), len(self.shards))
            else:
                self.lost.append(value.number)

    def finish(self) -> Summary:
        """Write and return the summary.

        Raises:
            V2LError: shards are missing, because workers died again and again.
        """
        digest = fingerprint(f"{number} {self.hashes[number]}" for number in sorted(self.hashes))
        summary = Summary(
            self.counts.images,
            dict(sorted(self.counts.reasons.items())),
            len(self.shards),
            self.resumed,
            digest,
            tuple(sorted(self.lost)),
        )
        if self.lost:
            raise V2LError(
                f"workers died again and again in {len(self.lost)} shard(s), the first is {min(self.lost)}",
                "enough memory for each worker; the other shards are done",
                "the same command with fewer --workers",
            )
        record = {
            "images": summary.images,
            "reasons": summary.reasons,
            "shards": summary.shards,
            "sha256": digest,
        }
        self.job.storage.write_bytes(SUMMARY, json.dumps(record, indent=2).encode() + b"\n")
        return summary

    def _count(self, receipt: dict[str, Any]) -> None:
        self.counts.images += receipt["images"]
        self.counts.reasons.update(receipt["reasons"])
        hashes = [f"{name} {entry['sha256']}" for name, entry in sorted(receipt["files"].items())]
        self.hashes[receipt["shard"]] = fingerprint(hashes)

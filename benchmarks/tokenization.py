"""v2l tokenize against the encoders' own forward passes, side by side in one run.

    python benchmarks/tokenization.py [PLACE …] [--images N] [--processes 2] [--rounds 3] [--checkpoint DIR]

Every process has one thread and its own tokenizer, as a worker of the local engine has. In turns, each process
runs (a) only the forward passes of the two encoders on images that are decoded and resized already, and (b)
everything: reading, decoding, resizing, encoding, lookup, and writing Parquet. The ratio of (a) to (b) is the
share that the forward passes have. It is printed by the clock and by processor time; on a machine with other
work only the second means something. Photographs are repeated when there are fewer than --images.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch

from v2l.images import load_image
from v2l.sources import find_images, image_bytes
from v2l.tokenization.batch import tokenize_samples
from v2l.tokenization.plan import Settings
from v2l.tokenization.samples import Sample
from v2l.tokenization.schema import table_schema
from v2l.tokenization.writer import ParquetWriter
from v2l.tokenizers.cnn.encoder import to_network_range
from v2l.tokenizers.grid.model import V2LTokenizer

BATCH = Settings().forward_batch


def forward_only(tokenizer: V2LTokenizer, views: list[tuple[torch.Tensor, ...]]) -> None:
    """The two encoders on prepared images, in the batches of the engine."""
    with torch.inference_mode():
        for start in range(0, len(views), BATCH):
            seen, squares = (torch.stack(part) for part in zip(*views[start : start + BATCH], strict=True))
            tokenizer.joint_encoder.encode_images(seen)
            tokenizer.features(to_network_range(squares))


def everything(tokenizer: V2LTokenizer, samples: list[Sample], target: Path) -> None:
    """What a worker does with a shard."""
    with ParquetWriter(target, table_schema(False, {})) as writer:
        for row in tokenize_samples(tokenizer, samples, Settings(), in_memory=32):
            assert isinstance(row, dict)
            writer.add(row)


def timed(work: Any, *arguments: Any) -> tuple[float, float]:
    """Seconds by the clock and of the processor, all threads together."""
    clock, processor = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.perf_counter() - clock, time.process_time() - processor


def worker(given: argparse.Namespace, barrier: Any, results: Any) -> None:
    """One process: warm up, then both kinds of work in turns, together with the other processes."""
    torch.set_num_threads(1)
    tokenizer = V2LTokenizer.from_pretrained(given.checkpoint, "cpu")
    files = list(islice(cycle(find_images(*given.places)), given.images // given.processes))
    samples = [Sample(str(number), lambda file=file: image_bytes(file)) for number, file in enumerate(files)]
    views = [tokenizer.prepare(load_image(file)) for file in files]
    with tempfile.TemporaryDirectory() as folder:
        everything(tokenizer, samples[:BATCH], Path(folder) / "warm.parquet")
        forward_only(tokenizer, views[:BATCH])
        for _ in range(given.rounds):
            barrier.wait()
            plain = timed(forward_only, tokenizer, views)
            barrier.wait()
            whole = timed(everything, tokenizer, samples, Path(folder) / "out.parquet")
            results.put((plain, whole))


def main() -> None:
    """Print both speeds and their ratio for each round, and the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="*", default=["data/samples"], metavar="PLACE")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--checkpoint")
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(given.processes), context.Queue()
    processes = [
        context.Process(target=worker, args=(given, barrier, results)) for _ in range(given.processes)
    ]
    for process in processes:
        process.start()
    measured = [results.get() for _ in range(given.rounds * given.processes)]
    for process in processes:
        process.join()
    each = given.images // given.processes
    names = ("by the clock", "by processor time")
    for place, name in enumerate(names):
        ratios = [plain[place] / whole[place] for plain, whole in measured]
        speed = statistics.median(each / whole[place] for _, whole in measured)
        print(
            f"{name}: {speed:.2f} images/s a process, forward passes alone "
            f"{statistics.median(each / plain[place] for plain, _ in measured):.2f}; ratio "
            f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}, n = {len(ratios)})"
        )


if __name__ == "__main__":
    main()

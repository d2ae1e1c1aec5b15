"""claim: memory of a worker stays flat from 1,000 to 200,000 images (within 10 %).

    python benchmarks/tokenize_memory.py [--images 200000] [--shard 1000] [--format parquet]

Synthetic images in Parquet files, a tiny tokenizer, one process: what grows would grow with the run, not with
the model. The resident memory of the process is printed along the way.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from tiny_pictures import picture
from tiny_words_tokenizer import QuarterTokenizer

from v2l.tokenization.plan import Settings
from v2l.tokenization.run import Request, tokenize

FILE_ROWS = 10_000
DISTINCT = 100  # images that are repeated


def resident_megabytes() -> float:
    """Of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def write_input(folder: Path, images: int, group: int) -> None:
    """Parquet files of FILE_ROWS images; one in a thousand is cut short."""
    pool = [picture(number) for number in range(DISTINCT)]
    folder.mkdir()
    for start in range(0, images, FILE_ROWS):
        numbers = range(start, min(images, start + FILE_ROWS))
        rows = [pool[n % DISTINCT][: 40 if n % 1000 == 7 else None] for n in numbers]
        table = pa.table({"image": rows, "id": [f"{n:09d}" for n in numbers]})
        pq.write_table(table, folder / f"{start:09d}.parquet", row_group_size=group)


def main() -> None:
    """Print memory after 1,000 images and along the way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--shard", type=int, default=1_000)
    parser.add_argument("--format", default="parquet")
    given = parser.parse_args()
    curve: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory(prefix="v2l-memory-") as name:
        folder = Path(name)
        write_input(folder / "input", given.images, given.shard)
        QuarterTokenizer().save_pretrained(folder / "quarters")

        def note(step: str, done: int, total: int) -> None:
            if step != "shards":
                return
            curve.append((done * given.shard, resident_megabytes()))
            if done in (1, 2, 5) or done % max(1, total // 10) == 0:
                print(f"{curve[-1][0]:9,} images: {curve[-1][1]:7.1f} MB", flush=True)

        request = Request(
            [str(folder / "input")],
            str(folder / "output"),
            str(folder / "quarters"),
            workers=0,
            settings=Settings(given.shard, given.format),
            device="cpu",
        )
        start = time.perf_counter()
        summary = tokenize(request, note)
        passed = time.perf_counter() - start
    first, largest = curve[0][1], max(megabytes for _, megabytes in curve)
    print(f"{summary.images:,} images and {sum(summary.reasons.values())} bad ones in {passed:.0f} s")
    print(f"after the first shard {first:.1f} MB, at most {largest:.1f} MB: {largest / first:.3f} times")


if __name__ == "__main__":
    main()

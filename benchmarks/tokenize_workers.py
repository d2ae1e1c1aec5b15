"""claim: two workers tokenize at least 1.9 times as many images a second as one, on Ray and on this machine.

    python benchmarks/tokenize_workers.py [PLACE …] [--images 96] [--engine ray] [--rounds 3]

The tokenizer that ships. Each run writes Parquet; photographs are repeated when there are fewer than --images.
The seconds of a run hold the start of the engine and the loading of the models, so each number of workers runs
twice, with --images and with three times as many, and the difference is what the additional images took. Meant
for two cores with nothing else running.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from v2l.sources import find_images
from v2l.tokenization.plan import Settings
from v2l.tokenization.run import Request, tokenize

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"
CLAIM, TIMES = 1.9, 3


def seconds(place: Path, output: Path, engine: str, workers: int) -> float:
    """Of one run."""
    settings = Settings(shard=8)
    request = Request(
        [str(place)], str(output), workers=workers, engine=engine, settings=settings, device="cpu"
    )
    start = time.perf_counter()
    tokenize(request, lambda *_: None)
    return time.perf_counter() - start


def write_list(path: Path, files: list[Path]) -> Path:
    """A list of images, each with its own id."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "id"])
        writer.writerows([str(image.absolute()), f"{number:06d}"] for number, image in enumerate(files))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="*", default=[str(SAMPLES)])
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--engine", default="ray", choices=("ray", "local"))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found = [Path(str(file)) for file in find_images(*given.places)]
    speeds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(prefix="v2l-workers-") as name:
        folder = Path(name)
        few, many = (
            write_list(folder / f"{count}.csv", list(islice(cycle(found), count)))
            for count in (given.images, TIMES * given.images)
        )
        for turn in range(given.rounds):
            for workers, some in speeds.items():
                taken = [
                    seconds(place, folder / f"{turn}-{workers}-{place.stem}", given.engine, workers)
                    for place in (few, many)
                ]
                some.append((TIMES - 1) * given.images / (taken[1] - taken[0]))
                print(f"round {turn + 1}, {workers} worker(s): {some[-1]:.2f} images/s", flush=True)
    ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    ratio = statistics.median(ratios)
    print(
        f"{given.engine}: {ratio:.2f} times one worker ({min(ratios):.2f} to {max(ratios):.2f}), "
        f"claimed at least {CLAIM}: {'met' if ratio >= CLAIM else 'missed'}"
    )


if __name__ == "__main__":
    main()

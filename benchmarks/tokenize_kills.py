"""SIGKILL of workers, of the main process and of Ray's raylet, and a full disk: equal output bytes.

    python benchmarks/tokenize_kills.py [--rounds 20] [--images 120] [--seed 0] [--kinds worker,driver,disk,raylet]

Each round starts `v2l tokenize` with a tiny tokenizer, disturbs it after a random time, types the same command
again until it succeeds, and compares every file of the output with those of an undisturbed run. A full disk
is a small tmpfs where mounting is permitted, else a limit on the size of files (RLIMIT_FSIZE); the script
says which. Raylets are killed under `--engine ray`, and the run goes on with `--engine local`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))
START = "import tiny_words_tokenizer; from v2l.__main__ import main; main()"
COMPARED = ("manifest.json", ".lock")  # one names the place of the input, one is empty
KINDS = ("worker", "driver", "disk", "raylet")
MOUNTED = "a tmpfs of 40 KB"
LIMITED = "RLIMIT_FSIZE"


@dataclass(frozen=True)
class Place:
    """The folders of all rounds."""

    pictures: Path
    checkpoint: Path


def command(place: Place, out: Path, engine: str = "local") -> list[str]:
    options = ["--tokenizer", str(place.checkpoint), "--workers", "2", "--shard", "6", "--engine", engine]
    options += ["--device", "cpu"]
    return [sys.executable, "-c", START, "tokenize", str(place.pictures), "-o", str(out), *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def start(arguments: list[str], limit: int | None = None) -> subprocess.Popen[bytes]:
    def limit_files() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    return subprocess.Popen(
        arguments,
        env=environment(),
        preexec_fn=limit_files,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def descendants(process: int) -> list[int]:
    """The processes that a process of this script started, directly or not."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [child for child, parent in parents.items() if parent == process]
    return found + [deeper for child in found for deeper in descendants(child)]


def named(process: int, text: str, seconds: float = 120) -> list[int]:
    """The descendants whose command line holds a text, as soon as there is one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = []
        for child in descendants(process):
            with contextlib.suppress(OSError):
                if text.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(child)
        if found:
            return found
        time.sleep(0.05)
    return []


def wait_for_output(out: Path, parts: int, running: subprocess.Popen[bytes]) -> None:
    """Wait until so many shards are there, or the run has ended."""
    while running.poll() is None and len(list(out.glob("part-*"))) < parts:
        time.sleep(0.01)


def kill(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
        return True
    return False


def disturb_worker(place: Place, out: Path, chance: random.Random) -> str:
    running = start(command(place, out))
    wait_for_output(out, chance.randrange(0, 12), running)
    workers = named(running.pid, "multiprocessing.spawn", 60)
    hit = kill(chance.choice(workers)) if workers else False
    running.wait()
    return f"killed a worker: {hit}, exit {running.returncode}"


def disturb_driver(place: Place, out: Path, chance: random.Random) -> str:
    running = start(command(place, out))
    wait_for_output(out, chance.randrange(0, 12), running)
    time.sleep(chance.random() * 0.05)
    hit = kill(running.pid)
    running.wait()
    return f"killed the main process: {hit}, {len(list(out.glob('part-*')))} parts were there"


def disturb_raylet(place: Place, out: Path, chance: random.Random) -> str:
    running = start(command(place, out, "ray"))
    raylets = named(running.pid, "raylet/raylet")
    wait_for_output(out, chance.randrange(1, 8), running)
    hit = bool([raylet for raylet in raylets if kill(raylet)])
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.wait(timeout=120)
    for child in [*descendants(running.pid), running.pid]:
        kill(child)
    running.wait()
    return f"killed the raylet: {hit}, exit {running.returncode}, {len(list(out.glob('part-*')))} parts were there"


def disturb_disk(place: Place, out: Path, chance: random.Random) -> str:
    """The first try has too small a disk; the second has room."""
    with small_disk(out) as mounted:
        limit = None if mounted else chance.randrange(500, 6000)
        running = start(command(place, out), limit)
        _, stderr = running.communicate()
        line = stderr.decode().strip().splitlines()[-1:] or [""]
        if mounted:
            kept = out.with_name("kept")
            shutil.copytree(out, kept)
    if mounted:
        out.rmdir()
        kept.rename(out)
    return f"{MOUNTED if mounted else LIMITED}: exit {running.returncode}, {line[0][:90]}"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small disk on a folder; False where that is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        yield tried.returncode == 0
    finally:
        if tried.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)


DISTURB: dict[str, Callable[[Place, Path, random.Random], str]] = {
    "worker": disturb_worker,
    "driver": disturb_driver,
    "raylet": disturb_raylet,
    "disk": disturb_disk,
}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of an output."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in COMPARED
    }


def finish(place: Place, out: Path) -> int:
    """Type the same command until it succeeds; how often."""
    for tries in range(1, 4):
        running = start(command(place, out))
        _, stderr = running.communicate()
        if running.returncode == 0:
            return tries
    raise SystemExit(f"the run does not go on: {stderr.decode()[-500:]}")


def prepare(folder: Path, images: int) -> Place:
    from tiny_pictures import picture
    from tiny_words_tokenizer import QuarterTokenizer

    place = Place(folder / "pictures", folder / "quarters")
    QuarterTokenizer().save_pretrained(place.checkpoint)
    place.pictures.mkdir()
    for number in range(images):
        content = picture(number)
        (place.pictures / f"{number:05d}.png").write_bytes(content[:50] if number % 17 == 5 else content)
    return place


def main() -> None:
    """Print a line for each round, and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    chance, equal, rounds = random.Random(given.seed), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="v2l-kills-") as name:
        place = prepare(Path(name), given.images)
        finish(place, Path(name) / "undisturbed")
        expected = contents(Path(name) / "undisturbed")
        for number in range(given.rounds):
            kind = chance.choice(given.kinds.split(","))
            out = Path(name) / f"round-{number}"
            what = DISTURB[kind](place, out, chance)
            finish(place, out)
            same = contents(out) == expected
            rounds[kind] += 1
            equal[kind] += same
            print(f"{number + 1:2d} {kind:7s} {what}; bytes equal: {same}", flush=True)
            shutil.rmtree(out)
    for kind in rounds:
        print(f"{kind}: {equal[kind]} of {rounds[kind]} equal to the undisturbed run")
    sys.exit(equal != rounds)


if __name__ == "__main__":
    main()

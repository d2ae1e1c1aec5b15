"""claim: the peak memory of embedding words is the same for 2,000 and for 20,000 candidates, within 10 %.

    python benchmarks/embedding_memory.py [--candidates 2000 20000]

Each size runs in its own process, with a small CLIP text tower (width 128, 2 layers, random weights) and four
templates.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

TEMPLATES = ("a photo of a {}.", "a drawing of a {}.", "the {}", "{}")
# Units of `ru_maxrss` per MB: macOS counts bytes, Linux counts KB.
UNITS_PER_MB = 2**20 if sys.platform == "darwin" else 2**10


def peak(candidates: int) -> float:
    """Peak memory in MB of this process, which embeds `candidates` invented words."""
    from embedding import text_tower

    from v2l.codebook.embedding import WordEmbedder, embed_words
    from v2l.shards import Shards

    words = [f"word {number}" for number in range(candidates)]
    with tempfile.TemporaryDirectory() as folder:
        embedder = WordEmbedder(text_tower(128, 2), TEMPLATES)
        rows = embed_words(embedder, words, Shards(Path(folder), "embedding words", size=512))
        assert len(rows) == candidates
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNITS_PER_MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--alone", action="store_true", help="measure the first size in this process")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(peak(given.candidates[0])))
        return
    command = [sys.executable, __file__, "--alone", "--candidates"]
    peaks = [
        json.loads(subprocess.run([*command, str(size)], check=True, capture_output=True).stdout)
        for size in given.candidates
    ]
    for size, megabytes in zip(given.candidates, peaks, strict=True):
        print(f"{size:8,} candidates {megabytes:8.0f} MB peak memory")
    print(f"ratio {peaks[-1] / peaks[0]:8.2f}")


if __name__ == "__main__":
    main()

"""The paper's preset trains at full size, and in two processes that end with equal weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_full_size_network_trains_in_two_processes(root: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = [str(root / "benchmarks" / "paper_training.py"), "--crop", "32", "--steps", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, *script], env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if "processes" in line]
    assert len(lines) == 2, done.stderr[-2000:]
    assert lines[0] == lines[1]
    assert lines[0].startswith("2 processes, 1 steps")
    assert "trained: 76,188,291 parameters and 663,361 of the discriminator" in done.stdout

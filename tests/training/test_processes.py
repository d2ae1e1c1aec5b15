"""Two gloo processes stand for many GPUs: they are two, and end with equal weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from v2l.tokenizer.model import V2LTokenizer

HERE = Path(__file__).resolve().parent


def test_two_processes_train_one_network(samples: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(HERE / "two_processes.py"), str(samples), str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if "processes" in line]
    assert len(lines) == 2, done.stderr[-2000:]
    assert lines[0] == lines[1]
    assert lines[0].startswith("2 processes, 4 steps")
    assert V2LTokenizer.from_pretrained(tmp_path / "model", device="cpu").facts["steps"] == 4

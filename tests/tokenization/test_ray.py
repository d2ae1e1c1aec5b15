"""Ray Data gives the same bytes as the local engine, and a missing Ray is one line."""

from __future__ import annotations

import builtins
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from v2l.engines.ray import WorkActor
from v2l.errors import V2LError
from v2l.tokenization.plan import Settings, Shard
from v2l.tokenization.run import Summary
from v2l.tokenization.worker import Job
from v2l.tokenizers.registry import member_named

Start = Callable[..., Summary]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Ray on two cores; its workers find the tiny tokenizer."""
    ray = pytest.importorskip("ray")
    path = os.pathsep.join([str(ROOT / "tests"), *filter(None, sys.path)])
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=80 * 2**20,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    yield ray
    ray.shutdown()


def test_ray_gives_the_same_bytes_also_when_a_worker_is_killed(
    cluster: Any, run: Start, pictures: Path, tmp_path: Path
) -> None:
    local = run(pictures, tmp_path / "local")
    killed: list[int] = []

    def kill_first_actor() -> None:
        while not killed:
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    is_actor = b"ray::" in (line := process.read_bytes()) and b"WorkActor" in line
                except OSError:
                    continue
                # Only a process that this test's own cluster started.
                if is_actor and _is_descendant(int(process.parent.name)):
                    killed.append(int(process.parent.name))
                    os.kill(killed[0], signal.SIGKILL)
                    return
            time.sleep(0.05)

    watcher = threading.Thread(target=kill_first_actor, daemon=True)
    watcher.start()
    distributed = run(pictures, tmp_path / "ray", engine="ray", workers=2)
    watcher.join(timeout=5)
    assert killed
    assert (distributed.images, distributed.sha256) == (local.images, local.sha256)


def _is_descendant(process: int) -> bool:
    """Whether this process is among the parents of another."""
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        if process == os.getpid():
            return True
    return False


def test_what_the_user_can_repair_is_an_answer_of_the_actor_not_a_failure_that_ray_repeats(
    checkpoint: str, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "model.safetensors").write_bytes(b"damaged")
    job = Job("memory://x", Settings(), {}, member_named("tiny-quarters"), tmp_path / "checkpoint", "cpu")
    (answer,) = WorkActor(job)({"item": [pickle.dumps(Shard(0, ()))]})["answer"]
    ((kind, error),) = pickle.loads(answer)
    assert kind == "failed"
    assert "model.safetensors" in str(error)


def test_without_ray_the_line_names_the_command_that_installs_it(
    run: Start, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_ray(name: str, *args: Any) -> Any:
        if name.split(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'")
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(V2LError, match=r"try: pip install 'ray\[data\]'"):
        run(pictures, tmp_path / "out", engine="ray")
    assert not (tmp_path / "out").exists()

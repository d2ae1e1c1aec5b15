"""run by a test: train the tiny recipe, and be killed (SIGKILL) when seven steps are done."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tiny_recipe import LinearAutoencoder

from v2l.training.loop import LoopSettings, TrainingLoop


def kill(step: int, terms: dict[str, float]) -> None:
    if step == 7:  # the last state is of step 5
        os.kill(os.getpid(), signal.SIGKILL)


settings = LoopSettings(Path(sys.argv[1]), steps=12, save_every=5, log_every=1, ema_decay=0.9)
TrainingLoop(LinearAutoencoder(12), settings).train(0, kill)

"""v2l train and v2l train-lora: the same command goes on where it stopped, and old spellings still work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import Result

from v2l.images import save_image
from v2l.tokenizers.grid.model import V2LTokenizer

Run = Callable[..., Result]

TINY = """
extends: small
model: {level_channels: [32, 32], res_blocks: 1, z_channels: 32, linear_path: false}
training: {batch_size: 2, crop_size: 32, log_every: 1, perceptual: none, perceptual_weight: 0,
    quantizer_start: 0.3}
"""


@pytest.mark.embedded
def test_training_writes_a_checkpoint_and_goes_on(
    run: Run, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "cache"))
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    (photographs := tmp_path / "photographs").mkdir()
    for path in (samples / "hat").iterdir():
        shutil.copy(path, photographs)
    (photographs / "note.jpg").write_text("no image", encoding="utf-8")
    save_image(torch.rand(3, 20, 40), tmp_path / "small.png")
    (tmp_path / "list.csv").write_text("path\nsmall.png\n", encoding="utf-8")
    places = (photographs, tmp_path / "list.csv")
    command = (
        "train",
        *places,
        "--config",
        tmp_path / "tiny.yaml",
        "-o",
        tmp_path / "run",
        "--steps",
        3,
        "--json",
    )
    planned = json.loads(run(*command, "--plan").stdout)
    assert (planned["images"], planned["steps"], [phase["steps"] for phase in planned["phases"]]) == (
        6,
        3,
        [1, 2],
    )
    assert not (tmp_path / "run").exists()
    first = json.loads(run(*command).stdout)
    weights = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    again = json.loads(run(*command).stdout)
    assert first["steps"] == again["steps"] == 3
    assert first["enlarged"] == 1
    assert first["skipped_steps"] == []
    assert first["skipped"] == [str(photographs / "note.jpg")]
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == weights
    assert V2LTokenizer.from_pretrained(first["output"], device="cpu").config.model.level_channels == (32, 32)


def test_train_lora_takes_its_options_by_their_old_spellings_too(
    run: Run, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, tuple[str, ...]]] = []

    class Recorder:
        def __init__(self, settings: object, tasks: tuple[str, ...], *_: object) -> None:
            calls.append((settings.examples_per_step, tasks))
            self.steps = settings.steps

        def __call__(self, *_: object) -> int:
            return self.steps

    monkeypatch.setattr("v2l.cli.train.lora.LoraCommand", Recorder)
    for names in (("--examples-per-step", "--tasks"), ("--lessons", "--kinds")):
        run("train-lora", samples, "-o", tmp_path / "run", names[0], "2", names[1], "mask,deblur")
    assert calls == [(2, ("mask", "deblur"))] * 2
    assert "--lessons" not in run("train-lora", "--help").stdout

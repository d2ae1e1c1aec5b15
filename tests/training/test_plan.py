"""The plan: every phase of a run measured by real steps, hours that add up, and nothing written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_tokenizer import FOLDED, TRAINING, tiny_tokenizer

from v2l.config import Config
from v2l.errors import V2LError
from v2l.sources import find_images
from v2l.training.plan import PhaseCost, Plan
from v2l.training.recipes.grid_run import RunSettings, plan_training

CONFIG = Config(
    model=replace(FOLDED, image_size=32),
    training=replace(
        TRAINING,
        steps=1000,
        accumulate=2,
        adversarial_weight=0.1,
        quantizer_start=0.3,
        discriminator_start=0.5,
        adversarial_start=0.6,
    ),
)


def test_every_phase_of_a_run_is_measured_and_nothing_is_written(samples: Path, tmp_path: Path) -> None:
    books = tmp_path / "books"
    tiny_tokenizer().local_codebook.save(books / "local")
    tiny_tokenizer().global_codebook.save(books / "global")
    before = sorted(tmp_path.rglob("*"))
    plan = plan_training(CONFIG, RunSettings(find_images(samples), books, tmp_path / "run", "cpu"))
    assert sorted(tmp_path.rglob("*")) == before
    assert [(phase.name, phase.steps) for phase in plan.phases] == [
        ("no quantizer", 300),
        ("quantizer", 200),
        ("quantizer, discriminator", 100),
        ("quantizer, discriminator, adversarial term", 400),
    ]
    assert plan.images_per_step == 4
    assert plan.peak_bytes is None or plan.peak_bytes > 10**7
    assert 0 < plan.reading_share < 1


def test_hours_and_images_a_second_follow_from_the_phases() -> None:
    plan = Plan(8, (PhaseCost("no quantizer", 900, 1.0, 0.5), PhaseCost("quantizer", 900, 3.0, 0.5)), None)
    assert plan.hours == 1.0
    assert plan.images_per_second == pytest.approx(1800 * 8 / 3600)
    assert plan.reading_share == 0.25


def test_files_that_are_no_images_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "note.jpg").write_text("no image")
    books = tmp_path / "books"
    tiny_tokenizer().local_codebook.save(books / "local")
    tiny_tokenizer().global_codebook.save(books / "global")
    with pytest.raises(V2LError, match="none of the first 1 files is a readable image"):
        plan_training(CONFIG, RunSettings(find_images(tmp_path), books, tmp_path / "run", "cpu"))

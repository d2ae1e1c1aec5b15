"""The benchmark of the notes counts them, and writes a page of the ordinary images that get one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import visibility as benchmark
from tiny_pipeline import ColourEncoder

from v2l.images import load_image, save_image


def test_the_notes_are_counted_and_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], samples: Path, tmp_path: Path
) -> None:
    save_image(torch.ones(3, 40, 40), tmp_path / "icons" / "blank.png")
    monkeypatch.setattr(benchmark, "load_encoder", lambda *_: ColourEncoder())
    options = ["--icons", str(tmp_path / "icons"), "--each", "3", "--show", str(tmp_path / "page.png")]
    monkeypatch.setattr(sys, "argv", ["visibility.py", str(samples / "hat"), *options])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    rows = {
        line.split(" | ")[0].strip("| *"): line.split(" | ")[1:5] for line in lines if line.startswith("|")
    }
    assert rows["photographs, hat"] == ["4", "0", "0", "0"]
    assert rows["icons, icons"] == ["1", "0", "0", "1"]
    assert rows["1 to 7 px"] == ["3", "3", "0", "0"]
    assert rows["even gradients"] == ["3", "0", "0", "3"]
    assert load_image(tmp_path / "page.png").shape[0] == 3


@pytest.mark.parametrize("name", [*benchmark.ORDINARY, *benchmark.EMPTY])
def test_each_drawn_image_depends_on_its_seed_and_number_alone(name: str) -> None:
    draw = {**benchmark.ORDINARY, **benchmark.EMPTY}[name]
    (first, _), (second, _) = benchmark.drawn(draw, name, 3, 2)
    ((again, _),) = benchmark.drawn(draw, name, 3, 1)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)

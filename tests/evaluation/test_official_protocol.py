"""The official protocol of reconstruction: 256 px, the checkpoint's own way of making crops, LPIPS in the
released range."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lpips
import pytest
import torch
from tiny_metrics import Corners
from tiny_pipeline import tiny_pipeline
from typer.testing import CliRunner

import v2l.evaluation.reconstruction as module
from v2l.cli.app import app
from v2l.errors import V2LError
from v2l.evaluation.reconstruction import Reconstruction, ReconstructionMetrics, ReconstructionSettings
from v2l.evaluation.reconstruction_methods import ReconstructionMethods, in_8_bits
from v2l.evaluation.reconstruction_report import report
from v2l.images import Skipped, load_image, resize_in_two_steps
from v2l.perceptual import LPIPSDistance
from v2l.sources import find_images


def test_it_measures_as_the_released_evaluation_did(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module,
        "load_perceptual",
        lambda name, _: LPIPSDistance(lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False), name),
    )
    monkeypatch.setattr(module, "LiteFeatures", Corners)
    pipeline = tiny_pipeline()
    pipeline.tokenizer.config = replace(
        pipeline.tokenizer.config, model=replace(pipeline.tokenizer.config.model, resize="two-step")
    )
    settings = ReconstructionSettings(256, limit=2, protocol="official")
    evaluation = Reconstruction(
        pipeline,
        ReconstructionMethods(pipeline.tokenizer, size=settings.size),
        ReconstructionMetrics.load(pipeline.tokenizer, protocol="official"),
        settings,
    )
    found = report(evaluation.run(find_images(samples)))
    assert (found["protocol"], found["settings"]["size"]) == ("official", 256)
    assert found["networks"]["perceptual"] == "lpips-alex, range as released"
    assert found["metrics"]["psnr_y"]["value"] != found["metrics"]["psnr"]["value"]
    straw = samples / "hat" / "straw.jpg"
    (crop,) = evaluation.methods.read([straw], Skipped()).crops
    assert torch.equal(crop, in_8_bits(resize_in_two_steps(load_image(straw)[None], 256)[0]))


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(V2LError, match="got the protocol 'mine'; allowed: default, official"):
        ReconstructionSettings(protocol="mine")


def test_without_its_network_the_command_says_what_is_missing(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stack_of_tests: None
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    result = CliRunner().invoke(app, ["evaluate", "reconstruction", str(samples), "--protocol", "official"])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "the backbone of lpips-alex is not on this machine" in line


@pytest.fixture
def stack_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny pipeline in place of the one that ships."""
    monkeypatch.setattr("v2l.pipeline.pipeline.Pipeline.load", lambda *_: tiny_pipeline())

"""The loop: it learns, resumes exactly, keeps both networks apart, and stops when asked."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_tokenizer import FOLDED, TRAINING, tiny_tokenizer

from v2l.config import TrainingConfig
from v2l.datasets import CropSettings
from v2l.errors import V2LError
from v2l.images import find_images
from v2l.processes import start_processes
from v2l.tokenizer.model import V2LTokenizer
from v2l.training.data import TrainingImages
from v2l.training.state import saved_states
from v2l.training.trainer import MOST_BAD_STEPS, Trainer

ADVERSARIAL = replace(
    TRAINING, adversarial_weight=0.1, discriminator_start=0.25, adversarial_start=0.5, quantizer_start=0.25, feature_noise=0.1
)


@pytest.fixture
def images(samples: Path) -> TrainingImages:
    paths = find_images(samples)[:6]
    return TrainingImages(
        paths, torch.randint(0, 30, (6, 3), generator=torch.Generator().manual_seed(0)), CropSettings(32, (32, 48), True, 0)
    )


def trainer(images: TrainingImages, run: Path, config: TrainingConfig = ADVERSARIAL) -> Trainer:
    return Trainer(tiny_tokenizer(FOLDED, config), images, None, start_processes("cpu"), run, seed=7)


def ignore(step: int, terms: dict[str, float]) -> None:
    """No progress shown."""


def test_a_few_steps_on_a_few_images_lower_the_loss(images: TrainingImages, tmp_path: Path) -> None:
    losses: list[float] = []
    config = replace(TRAINING, steps=60, batch_size=4, learning_rate=2e-3)
    trainer(images, tmp_path, config).train(0, lambda _, terms: losses.append(terms["l1"]))
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])


def test_a_resumed_run_ends_bit_equal_to_one_that_never_stopped(images: TrainingImages, tmp_path: Path) -> None:
    straight = trainer(images, tmp_path / "straight")
    straight.train(0, ignore)

    first = trainer(images, tmp_path / "resumed")

    def stop_at_five(step: int, terms: dict[str, float]) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    assert first.train(0, stop_at_five) == 5
    second = trainer(images, tmp_path / "resumed")
    assert second.resume() == 5
    assert second.train(5, ignore) == 8
    for name, network in straight.state.networks.items():
        for (key, tensor), other in zip(network.state_dict().items(), second.state.networks[name].state_dict().values(), strict=True):
            assert torch.equal(tensor, other), f"{name}.{key}"
    assert (tmp_path / "straight" / "log.csv").read_text() == (tmp_path / "resumed" / "log.csv").read_text()


def test_the_result_is_a_checkpoint(images: TrainingImages, tmp_path: Path) -> None:
    trainer(images, tmp_path).train(0, ignore)
    model = V2LTokenizer.from_pretrained(tmp_path / "model", device="cpu")
    assert model.facts["steps"] == 8
    assert model.encode_local(torch.rand(1, 3, 32, 32)).shape == (1, 4, 4)


def test_a_run_of_other_settings_is_refused_with_both_values(images: TrainingImages, tmp_path: Path) -> None:
    trainer(images, tmp_path).train(0, ignore)
    with pytest.raises(V2LError, match=r"training = .*now it is"):
        trainer(images, tmp_path, replace(ADVERSARIAL, learning_rate=1e-5)).resume()


def test_only_the_last_states_are_kept(images: TrainingImages, tmp_path: Path) -> None:
    trainer(images, tmp_path, replace(TRAINING, save_every=2, keep_checkpoints=2)).train(0, ignore)
    assert [path.name for path in saved_states(tmp_path)] == ["step-000000006", "step-000000008"]


def test_each_network_learns_only_from_its_own_loss(images: TrainingImages, tmp_path: Path) -> None:
    run = trainer(images, tmp_path)
    batch = next(run._batches(0))
    judge, network = run.state.networks["discriminator"], run.state.networks["model"]
    crops = batch.images * 2 - 1
    painted = run.prepared["model"](crops, batch.global_ids)
    run._generator_step(7, crops, painted)
    assert all(parameter.grad is None for parameter in judge.parameters())
    network.zero_grad(set_to_none=True)
    run._discriminator_step(crops, painted.images.detach())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert any(parameter.grad is not None for parameter in judge.parameters())


def test_a_bad_batch_is_skipped_and_several_in_a_row_stop_the_run(images: TrainingImages, tmp_path: Path) -> None:
    run = trainer(images, tmp_path, TRAINING)
    before = {key: tensor.clone() for key, tensor in run.tokenizer.state_dict().items()}
    broken = next(run._batches(0))
    broken.images.fill_(torch.nan)
    for _ in range(MOST_BAD_STEPS - 1):
        run.step(0, broken)
    assert all(torch.equal(tensor, before[key]) for key, tensor in run.tokenizer.state_dict().items())
    with pytest.raises(V2LError, match="not finite"):
        run.step(0, broken)


def test_a_second_signal_stops_at_once(images: TrainingImages, tmp_path: Path) -> None:
    def twice(step: int, terms: dict[str, float]) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer(images, tmp_path).train(0, twice)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

"""The loop, with a recipe of one network and one loss: what every recipe gets without writing it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_recipe import LinearAutoencoder, vectors
from torch import Tensor

from v2l.checkpoint import load_tensors
from v2l.errors import V2LError
from v2l.training.loop import LoopSettings, TrainingLoop, update_networks
from v2l.training.optimizer_step import MAX_BAD_STEPS
from v2l.training.recipe import Loss
from v2l.training.state import saved_states

HERE = Path(__file__).resolve().parent
STEPS = 12


def settings(run: Path, **changes: float) -> LoopSettings:
    return LoopSettings(run, **{"steps": STEPS, "save_every": 5, "log_every": 1, "ema_decay": 0.9} | changes)


def ignore(step: int, terms: dict[str, float]) -> None:
    """No progress shown."""


def files(run: Path) -> dict[str, bytes]:
    """The last state, the result and the log of a run."""
    folders = [saved_states(run)[-1], run / "model"]
    tensors = {
        str(path.relative_to(run)): path.read_bytes() for folder in folders for path in folder.iterdir()
    }
    return tensors | {"log.csv": (run / "log.csv").read_bytes()}


class WithoutNumbers(LinearAutoencoder):
    """Some batches are not finite."""

    bad_steps = range(3, 5)

    def batches(self, first: int, last: int) -> Iterator[list[Tensor]]:
        for step, parts in enumerate(super().batches(first, last), start=first):
            yield [part * torch.nan if step in self.bad_steps else part for part in parts]


def test_it_learns_and_the_result_is_written(tmp_path: Path) -> None:
    losses: list[float] = []
    loop = TrainingLoop(LinearAutoencoder(300), settings(tmp_path, steps=300, save_every=300))
    assert loop.train(0, lambda _, terms: losses.append(terms["l2"])) == 300
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])
    assert (
        load_tensors(tmp_path / "model" / "model.safetensors").keys()
        == loop.recipe.network.state_dict().keys()
    )


def test_a_killed_run_goes_on_bit_equal_to_one_that_never_stopped(tmp_path: Path) -> None:
    TrainingLoop(LinearAutoencoder(STEPS), settings(tmp_path / "straight")).train(0, ignore)
    run = tmp_path / "killed"
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "killed_run.py"), str(run)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    loop = TrainingLoop(LinearAutoencoder(STEPS), settings(run))
    assert loop.resume() == 5
    assert loop.train(5, ignore) == STEPS
    assert files(run) == files(tmp_path / "straight")


class WithoutNoise(LinearAutoencoder):
    """The loss draws nothing at random, so that parts and whole can be compared."""

    def loss(self, step: int, part: Tensor, network: str) -> Loss:
        error = (self.networks[network].prepared(part) - part).square().mean()
        return Loss(error, {"l2": error.detach()})


def test_four_parts_of_two_vectors_are_a_batch_of_eight() -> None:
    whole, parts = WithoutNoise(STEPS), WithoutNoise(STEPS, parts=4)
    for step in range(3):
        expected = update_networks(whole, step, next(whole.batches(step, step + 1)))
        accumulated = update_networks(parts, step, next(parts.batches(step, step + 1)))
        assert accumulated == pytest.approx(expected, rel=1e-5)
    for one, other in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_result_holds_the_averaged_weights_and_the_state_the_last_ones(tmp_path: Path) -> None:
    loop = TrainingLoop(LinearAutoencoder(STEPS), settings(tmp_path))
    loop.train(0, ignore)
    shipped = load_tensors(tmp_path / "model" / "model.safetensors")
    last = load_tensors(saved_states(tmp_path)[-1] / "model.safetensors")
    for name, weight in loop.recipe.network.named_parameters():
        assert torch.equal(weight, last[name])
        assert torch.equal(loop.state.average.tensors[name], shipped[name])
        assert not torch.equal(shipped[name], last[name])


def test_steps_that_are_not_finite_change_nothing_and_are_logged(tmp_path: Path) -> None:
    recipe = WithoutNumbers(STEPS)
    weights: list[Tensor] = []
    loop = TrainingLoop(recipe, settings(tmp_path, log_every=100))
    loop.train(0, lambda *_: weights.append(recipe.network[0].weight.detach().clone()))
    assert torch.equal(weights[2], weights[4])
    assert not torch.equal(weights[4], weights[5])
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert [line for line in lines if line.endswith("skipped,1")] == ["4,skipped,1", "5,skipped,1"]


def test_too_many_steps_in_a_row_that_are_not_finite_stop_the_run(tmp_path: Path) -> None:
    recipe = WithoutNumbers(STEPS)
    recipe.bad_steps = range(2, STEPS)
    with pytest.raises(V2LError, match=f"not finite for {MAX_BAD_STEPS} steps in a row"):
        TrainingLoop(recipe, settings(tmp_path)).train(0, ignore)


def test_validation_and_pictures_are_made_with_the_averaged_weights(tmp_path: Path) -> None:
    loop = TrainingLoop(LinearAutoencoder(STEPS), settings(tmp_path, validate_every=6, picture_every=12))
    loop.train(0, ignore)
    lines = [line.split(",") for line in (tmp_path / "log.csv").read_text().splitlines()]
    figures = {int(step): float(value) for step, term, value in lines[1:] if term == "validation/l2"}
    assert figures.keys() == {6, 12}
    with loop.averaged_weights():
        assert figures[12] == pytest.approx(loop.recipe.validate(12)["l2"], rel=1e-4)
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["step-000000012.png"]


def test_a_run_with_other_metadata_or_of_another_recipe_is_refused(tmp_path: Path) -> None:
    TrainingLoop(LinearAutoencoder(STEPS), settings(tmp_path)).train(0, ignore)
    with pytest.raises(V2LError, match=r"made with seed = 0, now 1; .* -o ANOTHER_FOLDER"):
        TrainingLoop(LinearAutoencoder(STEPS, seed=1), settings(tmp_path)).resume()
    other = LinearAutoencoder(STEPS)
    other.name = "other"
    with pytest.raises(V2LError, match="a state of the recipe 'linear-autoencoder'"):
        TrainingLoop(other, settings(tmp_path)).resume()


def test_settings_of_an_older_state_that_did_not_exist_then_take_their_defaults(tmp_path: Path) -> None:
    TrainingLoop(LinearAutoencoder(STEPS), settings(tmp_path)).train(0, ignore)
    newer = LinearAutoencoder(STEPS)
    newer.metadata = lambda: {"seed": 0, "steps": STEPS, "parts": 1, "bias": True}
    with pytest.raises(V2LError, match="bias = None, now True"):
        TrainingLoop(newer, settings(tmp_path)).resume()
    newer.metadata_defaults = lambda: {"bias": True}
    assert TrainingLoop(newer, settings(tmp_path)).resume() == STEPS


def test_a_signal_stops_after_the_step_and_the_state_is_saved(tmp_path: Path) -> None:
    def signal_at_three(step: int, terms: dict[str, float]) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    assert TrainingLoop(LinearAutoencoder(STEPS), settings(tmp_path)).train(0, signal_at_three) == 3
    assert [path.name for path in saved_states(tmp_path)] == ["step-000000003"]


def test_batches_are_a_function_of_the_step() -> None:
    first, again = LinearAutoencoder(STEPS), LinearAutoencoder(STEPS)
    late = list(first.batches(0, 6))[4:]
    assert all(torch.equal(one[0], two[0]) for one, two in zip(late, again.batches(4, 6), strict=True))
    assert torch.equal(late[0][0], vectors(4))


@pytest.mark.parametrize("change", [{"steps": 0}, {"save_every": 0}, {"log_every": 0}, {"keep_states": 0}])
def test_settings_out_of_range_are_refused(tmp_path: Path, change: dict) -> None:
    with pytest.raises(V2LError, match="1 and more"):
        settings(tmp_path, **change)

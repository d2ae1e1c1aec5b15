"""The grid tokenizer through the loop: it learns, resumes exactly, and its result is a checkpoint."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_tokenizer import FOLDED, TRAINING, tiny_tokenizer
from torch import Tensor

from v2l.config import ModelConfig, TrainingConfig
from v2l.datasets import CropSettings
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.processes import start_processes
from v2l.sources import find_images
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.training.data import Batch, TrainingImages
from v2l.training.loop import TrainingLoop
from v2l.training.recipes.grid import GridRecipe, loop_settings
from v2l.training.state import check_metadata, saved_states

ADVERSARIAL = replace(
    TRAINING,
    adversarial_weight=0.1,
    discriminator_start=0.25,
    adversarial_start=0.5,
    quantizer_start=0.25,
    feature_noise=0.1,
)
EVERYTHING = replace(ADVERSARIAL, accumulate=2, ema_decay=0.9, restart_after=2)  # all that a state must hold


@pytest.fixture
def images(samples: Path) -> TrainingImages:
    paths = find_images(samples)[:6]
    return TrainingImages(
        paths,
        CropSettings(32, (32, 48), True, 0),
        torch.randint(0, 30, (6, 3), generator=torch.Generator().manual_seed(0)),
    )


def loop_of(
    images: TrainingImages,
    run: Path,
    config: TrainingConfig = ADVERSARIAL,
    network: ModelConfig = FOLDED,
    origin: str | None = None,
) -> TrainingLoop[Batch]:
    tokenizer = tiny_tokenizer(network, config)
    recipe = GridRecipe(tokenizer, images, None, start_processes("cpu"), seed=7, origin=origin)
    return TrainingLoop(recipe, loop_settings(recipe, run))


def tensors(run: TrainingLoop[Batch]) -> dict[str, Tensor]:
    """All that training changes."""
    networks = {
        f"{name}.{key}": tensor
        for name, made in run.state.networks.items()
        for key, tensor in made.network.state_dict().items()
    }
    average = (
        {f"average.{name}": tensor for name, tensor in run.state.average.tensors.items()}
        if run.state.average
        else {}
    )
    return networks | average


def ignore(step: int, terms: dict[str, float]) -> None:
    """No progress shown."""


def test_a_few_steps_on_a_few_images_lower_the_loss(images: TrainingImages, tmp_path: Path) -> None:
    losses: list[float] = []
    config = replace(TRAINING, steps=60, batch_size=4, learning_rate=2e-3)
    loop_of(images, tmp_path, config).train(0, lambda _, terms: losses.append(terms["l1"]))
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])


@pytest.mark.parametrize(
    ("config", "network"),
    [(ADVERSARIAL, FOLDED), (EVERYTHING, replace(FOLDED, quantizer="averaged"))],
    ids=["adversarial", "everything"],
)
def test_a_resumed_run_ends_bit_equal_to_one_that_never_stopped(
    images: TrainingImages, tmp_path: Path, config: TrainingConfig, network: ModelConfig
) -> None:
    straight = loop_of(images, tmp_path / "straight", config, network)
    straight.train(0, ignore)

    first = loop_of(images, tmp_path / "resumed", config, network)

    def stop_at_five(step: int, terms: dict[str, float]) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    assert first.train(0, stop_at_five) == 5
    second = loop_of(images, tmp_path / "resumed", replace(config, workers=1), network)
    assert second.resume() == 5
    assert second.train(5, ignore) == 8
    expected, found = tensors(straight), tensors(second)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    assert (tmp_path / "straight" / "log.csv").read_text() == (tmp_path / "resumed" / "log.csv").read_text()
    for place in ("straight", "resumed"):
        weights = V2LTokenizer.from_pretrained(tmp_path / place / "model", device="cpu").state_dict()
        shipped = (
            expected
            if straight.state.average is None
            else {name: expected[f"average.{name}"] for name in straight.state.average.tensors}
        )
        assert all(
            torch.equal(weights[name.removeprefix("model.")], tensor)
            for name, tensor in shipped.items()
            if "discriminator" not in name
        )


def test_the_result_is_a_checkpoint(images: TrainingImages, tmp_path: Path) -> None:
    loop_of(images, tmp_path).train(0, ignore)
    model = V2LTokenizer.from_pretrained(tmp_path / "model", device="cpu")
    assert model.facts["steps"] == 8
    assert model.encode_local(torch.rand(1, 3, 32, 32)).shape == (1, 4, 4)


def test_a_run_of_other_settings_or_images_is_refused_with_both_values(
    images: TrainingImages, tmp_path: Path
) -> None:
    loop_of(images, tmp_path, TRAINING).train(0, ignore)
    with pytest.raises(V2LError, match=r"made with training\.learning_rate = 0.0005, now 1e-05;"):
        loop_of(images, tmp_path, replace(TRAINING, learning_rate=1e-5)).resume()
    fewer = TrainingImages(images.images.paths[:5], images.images.settings, images.global_ids[:5])
    with pytest.raises(
        V2LError, match=r"images = 6 images with fingerprint \w+, now 5 images with fingerprint"
    ):
        loop_of(fewer, tmp_path, TRAINING).resume()
    assert (
        loop_of(images, tmp_path, replace(TRAINING, log_every=5, save_every=3, picture_every=0)).resume() == 8
    )


def test_a_disk_that_fills_up_leaves_the_older_state_and_model_as_they_were(
    images: TrainingImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TRAINING, save_every=4)
    saved: list[Path] = []

    def full_from_the_third_file_on(tensors: dict[str, Tensor], path: Path) -> None:
        saved.append(path)
        if len(saved) > 4:  # the first state and model are written: two files and one
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        save_file(tensors, path)

    monkeypatch.setattr("v2l.checkpoint.save_file", full_from_the_third_file_on)
    before: dict[str, bytes] = {}

    def remember(step: int, terms: dict[str, float]) -> None:
        if step == 5:
            before.update(
                {str(path): path.read_bytes() for path in (tmp_path / "model").rglob("*") if path.is_file()}
            )

    with pytest.raises(V2LError, match="No space left"):
        loop_of(images, tmp_path, config).train(0, remember)
    assert {
        str(path): path.read_bytes() for path in (tmp_path / "model").rglob("*") if path.is_file()
    } == before
    assert [path.name for path in saved_states(tmp_path)] == ["step-000000004"]
    assert not list(tmp_path.glob(".v2l-*"))
    monkeypatch.undo()
    assert loop_of(images, tmp_path, config).resume() == 4


def test_only_the_last_states_are_kept(images: TrainingImages, tmp_path: Path) -> None:
    loop_of(images, tmp_path, replace(TRAINING, save_every=2, keep_checkpoints=2)).train(0, ignore)
    assert [path.name for path in saved_states(tmp_path)] == ["step-000000006", "step-000000008"]


def test_skipped_batches_are_reported_and_logged_at_once(images: TrainingImages, tmp_path: Path) -> None:
    run, steps = loop_of(images, tmp_path, replace(TRAINING, log_every=100, batch_size=1)), []
    with torch.no_grad():
        run.recipe.tokenizer.global_rows[images.global_ids[3]] = torch.nan
    run.train(0, lambda step, terms: steps.append((step, terms["skipped"])))
    bad = [step for step, skipped in steps if skipped]
    assert 0 < len(bad) < len(steps)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert [line for line in lines if ",skipped,1" in line] == [f"{step},skipped,1" for step in bad]


def test_pictures_and_tensorboard_files_lie_beside_the_log(images: TrainingImages, tmp_path: Path) -> None:
    run = loop_of(images, tmp_path, replace(TRAINING, steps=3, picture_every=2))
    run.train(0, ignore)
    pages = sorted((tmp_path / "pictures").iterdir())
    assert [page.name for page in pages] == ["step-000000002.png", "step-000000003.png"]
    page = load_image(pages[-1])
    crop = (images[0, 0][0] * 255).round() / 255
    assert any(
        torch.equal(page[:, top : top + 32, left : left + 32], crop)
        for top in range(16)
        for left in range(16)
    )
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_a_half_written_line_of_a_killed_run_leaves_the_log(images: TrainingImages, tmp_path: Path) -> None:
    run = loop_of(images, tmp_path, TRAINING)
    run.train(0, ignore)
    log = tmp_path / "log.csv"
    whole = log.read_text()
    log.write_text(whole + "1\n9,l1,0.5\n9,l")
    again = loop_of(images, tmp_path, TRAINING)
    again.train(again.resume(), ignore)
    assert log.read_text() == whole


def test_a_linear_path_is_fitted_to_the_images_before_the_first_step_of_a_run_with_new_weights(
    images: TrainingImages, tmp_path: Path
) -> None:
    network = replace(FOLDED, linear_path=True)
    new = loop_of(images, tmp_path, replace(TRAINING, learning_rate=0.0), network).recipe
    started = loop_of(images, tmp_path, TRAINING, network, "hash of a checkpoint").recipe
    pixels = next(new.batches(0, 1))[0].images

    def error(made: GridRecipe) -> float:
        with torch.no_grad():
            return float(
                (made.tokenizer.linear.decode(made.tokenizer.linear.encode(pixels)) - pixels).square().mean()
            )

    before = error(new)
    assert (set(new.fit_steps), set(started.fit_steps)) == ({0}, set())
    new.fit(0)
    assert error(new) < 0.2 * float(pixels.var()) < before == error(started)


def test_a_run_with_other_words_of_equal_number_is_refused(images: TrainingImages, tmp_path: Path) -> None:
    loop = loop_of(images, tmp_path)
    loop.save(1)
    tokenizer, metadata = loop.recipe.tokenizer, loop.recipe.metadata()
    book = tokenizer.global_codebook
    tokenizer.global_codebook = replace(book, embeddings=book.embeddings.flip(0))
    with pytest.raises(V2LError, match="made with words = "):
        loop.resume()
    del metadata["words"]
    check_metadata(tmp_path, loop.recipe.metadata_defaults() | metadata, loop.recipe.metadata())


def test_a_second_signal_stops_at_once(images: TrainingImages, tmp_path: Path) -> None:
    def twice(step: int, terms: dict[str, float]) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        loop_of(images, tmp_path).train(0, twice)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_training_the_words_alone_leaves_every_code_as_it_is(images: TrainingImages, tmp_path: Path) -> None:
    config = replace(TRAINING, trained="words")
    loop = loop_of(images, tmp_path, config, FOLDED, origin="a checkpoint")
    before = {name: tensor.clone() for name, tensor in loop.recipe.tokenizer.state_dict().items()}
    loop.train(0, ignore)
    after = V2LTokenizer.from_pretrained(tmp_path / "model", device="cpu")
    changed = {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("decoder.mid.cross_attn_1.") for name in changed)
    photograph = images.first(2).images * 2 - 1
    codes = loop.recipe.tokenizer.quantizer(loop.recipe.tokenizer.features(photograph)).indices
    assert torch.equal(after.quantizer(after.features(photograph)).indices, codes)


def test_words_alone_cannot_be_trained_without_cross_attention(
    images: TrainingImages, tmp_path: Path
) -> None:
    with pytest.raises(V2LError, match="for a decoder without cross-attention"):
        loop_of(images, tmp_path, replace(TRAINING, trained="words"), replace(FOLDED, cross_attention=False))

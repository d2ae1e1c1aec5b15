"""One step: each network learns from its own loss alone, and parts add up to the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import lpips
import pytest
import torch
from accelerate.state import AcceleratorState
from tiny_tokenizer import FOLDED, TRAINING, tiny_tokenizer
from torch import Tensor

from v2l.config import TrainingConfig
from v2l.errors import V2LError
from v2l.perceptual import LPIPSDistance
from v2l.processes import Accelerator, start_processes
from v2l.training.data import Batch
from v2l.training.loop import accumulate_gradients, update_networks
from v2l.training.losses import (
    GradientBalance,
    adaptive_ratio,
    generator_term,
    reconstruction_terms,
    weighted_sum,
)
from v2l.training.optimizer_step import MAX_BAD_STEPS
from v2l.training.recipe import Terms
from v2l.training.recipes.grid_losses import GridObjective

ADVERSARIAL = replace(
    TRAINING,
    steps=4,
    adversarial_weight=0.5,
    discriminator_norm="group",
    discriminator_start=0.0,
    adversarial_start=0.0,
    clip_norm=1.0,
)


@pytest.fixture(scope="module")
def perceptual() -> LPIPSDistance:
    torch.manual_seed(0)
    return LPIPSDistance(lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False), "lpips-squeeze")


@pytest.fixture
def half_precision() -> Iterator[Accelerator]:
    """Processes in bf16; otherwise a program has one precision for all its time."""
    AcceleratorState._reset_state()
    yield start_processes("cpu", "bf16")
    AcceleratorState._reset_state()


def batch(size: int = 8) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(
        torch.rand(size, 3, 32, 32, generator=generator), torch.randint(0, 30, (size, 3), generator=generator)
    )


def objective_of(config: TrainingConfig, perceptual: LPIPSDistance | None = None) -> GridObjective:
    return GridObjective(tiny_tokenizer(FOLDED, config), perceptual, start_processes("cpu"), seed=3)


def update(objective: GridObjective, step: int, images: Batch) -> Terms:
    return update_networks(objective, step, objective.parts(images))


def gradients_of_both(objective: GridObjective, parts: list[Batch]) -> Terms:
    objective.before_step(0, parts)
    model = accumulate_gradients(objective, 0, parts, "model")
    return model | accumulate_gradients(objective, 0, parts, "discriminator")


def gradients(step: GridObjective, name: str) -> list[Tensor | None]:
    return [parameter.grad for parameter in step.networks[name].network.parameters()]


def test_four_parts_of_two_images_are_a_batch_of_eight(perceptual: LPIPSDistance) -> None:
    made = {
        size: objective_of(replace(ADVERSARIAL, batch_size=size, accumulate=8 // size), perceptual)
        for size in (8, 2)
    }
    terms = {}
    for size, step in made.items():
        parts = step.parts(batch())
        assert [len(part.images) for part in parts] == [size] * (8 // size)
        terms[size] = gradients_of_both(step, parts)
    assert terms[2] == pytest.approx(terms[8], rel=1e-5)
    for name in ("model", "discriminator"):
        for whole, summed in zip(gradients(made[8], name), gradients(made[2], name), strict=True):
            assert torch.allclose(whole, summed, rtol=1e-4, atol=1e-5 * float(whole.abs().max()) + 1e-7)


def test_the_steps_after_a_step_in_parts_are_those_after_the_whole() -> None:
    made = [objective_of(replace(ADVERSARIAL, batch_size=size, accumulate=8 // size)) for size in (8, 2)]
    for step in range(3):
        whole, summed = (update(objective, step, batch()) for objective in made)
        assert summed == pytest.approx(
            whole, rel=0.01
        )  # Adam turns rounding of the smallest gradients into steps


def test_the_gradient_is_that_of_the_sum_of_all_terms_with_their_weights(perceptual: LPIPSDistance) -> None:
    config = replace(ADVERSARIAL, l2_weight=0.5, perceptual_weight=2.0, adversarial_ramp=0.0)
    made = objective_of(config, perceptual)
    part = made.parts(batch())[0]
    made.before_step(0, [part])
    terms = accumulate_gradients(made, 0, [part], "model")
    found = [gradient.clone() for gradient in gradients(made, "model")]
    made.tokenizer.zero_grad(set_to_none=True)

    done = made.tokenizer(part.images, part.global_ids)
    loss = weighted_sum(reconstruction_terms(part.images, done.images, perceptual), config)
    adversarial = generator_term(made.networks["discriminator"].network(done.images))
    ratio = terms["ratio"]
    (loss + 0.5 * ratio * adversarial + done.quantized.loss).backward(retain_graph=True)
    for gradient, wanted in zip(found, gradients(made, "model"), strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-6)
    value = loss + 0.5 * ratio * adversarial + done.quantized.loss
    assert terms["loss"] == pytest.approx(value.item(), rel=1e-4)
    layer = made.tokenizer.decoder.last_weight
    again = made.tokenizer(part.images, part.global_ids).images
    loss = weighted_sum(reconstruction_terms(part.images, again, perceptual), config)
    adversarial = generator_term(made.networks["discriminator"].network(again))
    assert ratio == pytest.approx(
        adaptive_ratio(GradientBalance.of(loss, adversarial, again, layer).at_layer).item(), rel=1e-4
    )


def test_each_network_learns_only_from_its_own_loss() -> None:
    made = objective_of(ADVERSARIAL)
    parts = made.parts(batch(2))
    made.before_step(1, parts)
    accumulate_gradients(made, 1, parts, "model")
    assert all(gradient is None for gradient in gradients(made, "discriminator"))
    assert not any(image.requires_grad for image in made._decoded)
    made.tokenizer.zero_grad(set_to_none=True)
    accumulate_gradients(made, 1, parts, "discriminator")
    assert all(gradient is None for gradient in gradients(made, "model"))
    assert all(gradient is not None for gradient in gradients(made, "discriminator"))


def test_terms_are_named_one_by_one(perceptual: LPIPSDistance) -> None:
    terms = update(objective_of(ADVERSARIAL, perceptual), 0, batch(2))
    reconstruction = {"l1", "l2", "perceptual"}
    adversarial = {"adversarial", "ratio", "discriminator", "verdict_real", "verdict_painted"}
    assert terms.keys() == reconstruction | adversarial | {
        "commitment",
        "codebook",
        "loss",
        "codes",
        "perplexity",
        "learning_rate",
        "skipped",
    }
    assert 1 <= terms["perplexity"] <= terms["codes"] <= 2 * 16


def test_the_adversarial_weight_rises_from_step_to_step_to_its_full_value() -> None:
    schedule = objective_of(
        replace(ADVERSARIAL, steps=100, adversarial_start=0.5, adversarial_ramp=0.1)
    ).schedule
    ramp = [schedule.adversarial_weight(step) for step in range(49, 63)]
    assert ramp[0] == 0
    assert 0 < ramp[1] < ramp[5] < ramp[10] < 0.5
    assert ramp[11:] == [0.5] * 3


def test_a_bad_batch_is_skipped_and_several_in_a_row_stop_the_run() -> None:
    made, broken = objective_of(ADVERSARIAL), batch(2)
    before = {key: tensor.clone() for key, tensor in made.tokenizer.state_dict().items()}
    broken.images[0, 0, 0, 0] = torch.inf
    for _ in range(MAX_BAD_STEPS - 1):
        assert update(made, 0, broken)["skipped"] == 2
    assert all(torch.equal(tensor, before[key]) for key, tensor in made.tokenizer.state_dict().items())
    with pytest.raises(V2LError, match="not finite for 5 steps in a row"):
        update(made, 0, broken)


def test_one_network_whose_gradients_stay_bad_stops_the_run_though_the_other_learns() -> None:
    made = objective_of(replace(ADVERSARIAL, adversarial_start=1.0))
    with torch.no_grad():
        made.networks["discriminator"].network.main[0].bias[0] = torch.nan
    for _ in range(MAX_BAD_STEPS - 1):
        assert update(made, 0, batch(2))["skipped"] == 1
    with pytest.raises(V2LError, match="in a row"):
        update(made, 0, batch(2))


def test_quantizer_and_losses_stay_in_float32_when_the_networks_do_not(half_precision: Accelerator) -> None:
    made = GridObjective(
        tiny_tokenizer(FOLDED, replace(ADVERSARIAL, precision="bf16")), None, half_precision, seed=3
    )
    seen: dict[str, torch.dtype] = {}
    tokenizer = made.tokenizer
    tokenizer.encoder.register_forward_hook(lambda _, inputs, output: seen.update(encoder=output.dtype))
    tokenizer.quantizer.register_forward_hook(
        lambda _, inputs, output: seen.update(quantized=output.quantized.dtype, loss=output.loss.dtype)
    )
    part = made.parts(batch(2))[0]
    output = made.networks["model"].prepared(part.images, part.global_ids, None)
    assert seen == {"encoder": torch.bfloat16, "quantized": torch.float32, "loss": torch.float32}
    assert output.images.dtype == torch.float32
    assert all(term.dtype == torch.float32 for term in made.generator_loss(0, part, output).terms.values())
    assert update(made, 0, batch(2))["skipped"] == 0


def test_the_projected_codebook_is_that_of_the_weights_after_every_step() -> None:
    made = objective_of(TRAINING)
    quantizer = made.tokenizer.quantizer
    for step in range(3):
        update(made, step, batch(2))
        with torch.no_grad():
            assert torch.equal(quantizer.entries(), quantizer.projection(quantizer.embeddings))

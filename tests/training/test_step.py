"""One step: each network learns from its own loss alone, parts are the whole, and bad gradients change nothing."""

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
from v2l.training.losses import adaptive_ratio, generator_term, pulls, reconstruction_terms, weighted_sum
from v2l.training.optimizer_step import MOST_BAD_STEPS
from v2l.training.step import TrainingStep
from v2l.training.weight_average import WeightAverage

JUDGED = replace(
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


def stepper(config: TrainingConfig, perceptual: LPIPSDistance | None = None) -> TrainingStep:
    return TrainingStep(tiny_tokenizer(FOLDED, config), perceptual, start_processes("cpu"), seed=3)


def weights(step: TrainingStep) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": tensor
        for name, made in step.learners.items()
        for key, tensor in made.network.state_dict().items()
    }


def gradients(step: TrainingStep, name: str) -> list[Tensor | None]:
    return [parameter.grad for parameter in step.learners[name].network.parameters()]


def test_four_parts_of_two_images_are_a_batch_of_eight(perceptual: LPIPSDistance) -> None:
    made = {
        size: stepper(replace(JUDGED, batch_size=size, accumulate=8 // size), perceptual) for size in (8, 2)
    }
    told = {}
    for size, step in made.items():
        parts = step._parts(batch())
        assert [len(part.images) for part in parts] == [size] * (8 // size)
        terms, painted = step.generate(0, parts)
        told[size] = terms | step.discriminate(parts, painted)
    assert told[2] == pytest.approx(told[8], rel=1e-5)
    for name in ("model", "discriminator"):
        for whole, summed in zip(gradients(made[8], name), gradients(made[2], name), strict=True):
            assert torch.allclose(whole, summed, rtol=1e-4, atol=1e-5 * float(whole.abs().max()) + 1e-7)


def test_the_steps_after_a_step_in_parts_are_those_after_the_whole() -> None:
    made = [stepper(replace(JUDGED, batch_size=size, accumulate=8 // size)) for size in (8, 2)]
    for step in range(3):
        whole, summed = (make(step, batch()) for make in made)
        assert summed == pytest.approx(
            whole, rel=0.01
        )  # Adam turns rounding of the smallest gradients into steps


def test_the_gradient_is_that_of_the_sum_of_all_terms_with_their_weights(perceptual: LPIPSDistance) -> None:
    config = replace(JUDGED, l2_weight=0.5, perceptual_weight=2.0, adversarial_ramp=0.0)
    made = stepper(config, perceptual)
    part = made._parts(batch())[0]
    terms, _ = made.generate(0, [part])
    found = [gradient.clone() for gradient in gradients(made, "model")]
    made.tokenizer.zero_grad(set_to_none=True)

    done = made.tokenizer(part.images, part.global_ids)
    loss = weighted_sum(reconstruction_terms(part.images, done.images, perceptual), config)
    adversarial = generator_term(made.learners["discriminator"].network(done.images))
    ratio = terms["ratio"]
    (loss + 0.5 * ratio * adversarial + done.quantized.loss).backward(retain_graph=True)
    for gradient, wanted in zip(found, gradients(made, "model"), strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-6)
    value = loss + 0.5 * ratio * adversarial + done.quantized.loss
    assert terms["loss"] == pytest.approx(value.item(), rel=1e-4)
    layer = made.tokenizer.decoder.last_weight
    again = made.tokenizer(part.images, part.global_ids).images
    loss = weighted_sum(reconstruction_terms(part.images, again, perceptual), config)
    adversarial = generator_term(made.learners["discriminator"].network(again))
    assert ratio == pytest.approx(
        adaptive_ratio(pulls(loss, adversarial, again, layer).at_layer).item(), rel=1e-4
    )


def test_each_network_learns_only_from_its_own_loss() -> None:
    made = stepper(JUDGED)
    parts = made._parts(batch(2))
    _, painted = made.generate(1, parts)
    assert all(gradient is None for gradient in gradients(made, "discriminator"))
    assert not any(image.requires_grad for image in painted)
    made.tokenizer.zero_grad(set_to_none=True)
    made.discriminate(parts, painted)
    assert all(gradient is None for gradient in gradients(made, "model"))
    assert all(gradient is not None for gradient in gradients(made, "discriminator"))


def test_terms_are_named_one_by_one(perceptual: LPIPSDistance) -> None:
    terms = stepper(JUDGED, perceptual)(0, batch(2))
    reconstruction = {"l1", "l2", "perceptual"}
    judged = {"adversarial", "ratio", "discriminator", "verdict_real", "verdict_painted"}
    assert terms.keys() == reconstruction | judged | {
        "commitment",
        "codebook",
        "loss",
        "codes",
        "perplexity",
        "learning_rate",
        "skipped",
    }
    assert 1 <= terms["perplexity"] <= terms["codes"] <= 2 * 16


def test_the_verdict_counts_more_from_step_to_step_until_it_counts_whole() -> None:
    schedule = stepper(replace(JUDGED, steps=100, adversarial_start=0.5, adversarial_ramp=0.1)).schedule
    ramp = [schedule.adversarial_weight(step) for step in range(49, 63)]
    assert ramp[0] == 0
    assert 0 < ramp[1] < ramp[5] < ramp[10] < 0.5
    assert ramp[11:] == [0.5] * 3


def test_a_bad_batch_is_skipped_and_several_in_a_row_stop_the_run() -> None:
    made, broken = stepper(JUDGED), batch(2)
    before = {key: tensor.clone() for key, tensor in made.tokenizer.state_dict().items()}
    broken.images[0, 0, 0, 0] = torch.inf
    for _ in range(MOST_BAD_STEPS - 1):
        assert made(0, broken)["skipped"] == 2
    assert all(torch.equal(tensor, before[key]) for key, tensor in made.tokenizer.state_dict().items())
    with pytest.raises(V2LError, match="not finite for 5 steps in a row"):
        made(0, broken)


def test_one_network_whose_gradients_stay_bad_stops_the_run_though_the_other_learns() -> None:
    made = stepper(replace(JUDGED, adversarial_start=1.0))
    with torch.no_grad():
        made.learners["discriminator"].network.main[0].bias[0] = torch.nan
    for _ in range(MOST_BAD_STEPS - 1):
        assert made(0, batch(2))["skipped"] == 1
    with pytest.raises(V2LError, match="in a row"):
        made(0, batch(2))


def test_quantizer_and_losses_stay_in_float32_when_the_networks_do_not(half_precision: Accelerator) -> None:
    made = TrainingStep(
        tiny_tokenizer(FOLDED, replace(JUDGED, precision="bf16")), None, half_precision, seed=3
    )
    seen: dict[str, torch.dtype] = {}
    tokenizer = made.tokenizer
    tokenizer.encoder.register_forward_hook(lambda _, inputs, output: seen.update(encoder=output.dtype))
    tokenizer.quantizer.register_forward_hook(
        lambda _, inputs, output: seen.update(quantized=output.quantized.dtype, loss=output.loss.dtype)
    )
    part = made._parts(batch(2))[0]
    done = made.learners["model"].prepared(part.images, part.global_ids, None)
    assert seen == {"encoder": torch.bfloat16, "quantized": torch.float32, "loss": torch.float32}
    assert done.images.dtype == torch.float32
    assert all(term.dtype == torch.float32 for term in made._objective(0, part, done, None)[1].values())
    assert made(0, batch(2))["skipped"] == 0


def test_the_projected_codebook_is_that_of_the_weights_after_every_step() -> None:
    made = stepper(TRAINING)
    quantizer = made.tokenizer.quantizer
    for step in range(3):
        made(step, batch(2))
        with torch.no_grad():
            assert torch.equal(quantizer.entries(), quantizer.projection(quantizer.embeddings))


def test_an_average_follows_the_weights_and_the_network_gets_its_own_back() -> None:
    network = torch.nn.Linear(2, 2)
    own = network.weight.detach().clone()
    average = WeightAverage(network, 0.9)
    with torch.no_grad():
        network.weight.add_(1.0)
    average.update(steps=1000)
    assert torch.allclose(average.tensors["weight"], own + 0.1)
    with average.in_network():
        assert torch.equal(network.weight, average.tensors["weight"])
    assert torch.equal(network.weight, own + 1.0)

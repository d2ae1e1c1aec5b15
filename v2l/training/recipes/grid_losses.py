"""a batch ──► losses of the grid tokenizer and of its discriminator.

One forward pass of the tokenizer serves both networks: the discriminator sees the decoded images without
gradient. A batch in several parts gives the step of the whole batch. Sources: V2L Tokenizer, arXiv
2403.07874, section 4.1; VQGAN, arXiv 2012.09841, section 3.1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from v2l.config import TrainingConfig
from v2l.errors import V2LError
from v2l.perceptual import PerceptualDistance
from v2l.processes import Accelerator
from v2l.tokenizers.cnn.autoencoder import GridAutoencoder, Reconstruction
from v2l.tokenizers.cnn.encoder import to_network_range
from v2l.tokenizers.quantizers.usage import CodeUsage
from v2l.training.data import Batch
from v2l.training.discriminator import build_discriminator
from v2l.training.losses import (
    GradientBalance,
    adaptive_ratio,
    discriminator_term,
    generator_term,
    reconstruction_terms,
    weighted_sum,
)
from v2l.training.optimizer_step import FUSED_DEVICES, OptimizerStep
from v2l.training.recipe import Loss, Objective, Terms
from v2l.training.recipes.grid_schedule import GridSchedule

MODEL, DISCRIMINATOR = "model", "discriminator"
ADAM_EPSILON = 1e-7  # as in the official code


class GridObjective(Objective[Batch]):
    """Reconstruction, quantization and adversarial losses of a tokenizer with a grid of codes.

    Its parts are batches whose images are in [-1, 1], on the device of the processes (`parts`). The terms of
    a step, unweighted: `l1`, `l2`, `perceptual`, `commitment`, `codebook`, `adversarial`, its `ratio`, the
    whole `loss`, `discriminator` and its mean logits (`verdict_real`, `verdict_painted`); and the number of
    `codes` used, with their `perplexity`.

    Args:
        tokenizer: the tokenizer to train; its config says how.
        perceptual: a frozen perceptual network, or None.
        processes: the processes that train together.
        seed: of the noise on features.

    Attributes:
        networks: `model` and, with an adversarial weight, `discriminator`.
        schedule: what the config's fractions mean in steps.
    """

    def __init__(
        self,
        tokenizer: GridAutoencoder,
        perceptual: PerceptualDistance | None,
        processes: Accelerator,
        seed: int = 0,
    ) -> None:
        self.tokenizer, self.perceptual, self.processes, self.seed = tokenizer, perceptual, processes, seed
        self.config = tokenizer.config.training
        self.schedule = GridSchedule(self.config)
        if self.config.trained == "words":
            train_words_alone(tokenizer)
        self.networks = {MODEL: optimized(tokenizer, self.config, processes)}
        if self.config.adversarial_weight > 0:
            discriminator = build_discriminator(self.config.discriminator_norm)
            self.networks[DISCRIMINATOR] = optimized(discriminator, self.config, processes)
        self._usage = CodeUsage(tokenizer.quantizer.codebook_size)
        self._decoded: deque[Tensor] = deque()  # images of this step that the discriminator has not seen yet
        self._ratio: Tensor | None = None  # of all parts together, if there are several

    def learning_rate(self, step: int) -> float:
        return self.schedule.learning_rate(step)

    def trained(self, step: int) -> list[str]:
        return [MODEL, DISCRIMINATOR] if self.schedule.discriminates(step) else [MODEL]

    def parts(self, batch: Batch) -> list[Batch]:
        """Split a batch with images in [0, 1] into parts that are ready for the networks.

        The number of parts is the number of accumulation steps in the config.
        """
        device, parts = self.processes.device, []
        for part in batch.split(self.config.accumulate):
            images = to_network_range(part.images.to(device)).contiguous(
                memory_format=memory_format(self.config)
            )
            parts.append(Batch(images, part.global_ids.to(device)))
        return parts

    def before_step(self, step: int, parts: Sequence[Batch]) -> None:
        self._usage = CodeUsage(self.tokenizer.quantizer.codebook_size)
        self._decoded.clear()
        common = self.schedule.uses_adversarial_loss(step) and len(parts) > 1
        self._ratio = self._common_ratio(step, parts) if common else None

    def loss(self, step: int, part: Batch, network: str) -> Loss:
        return self._discriminator_loss(part) if network == DISCRIMINATOR else self._model_loss(step, part)

    def after_update(self, step: int, network: str, updated: bool) -> Terms:
        if network == DISCRIMINATOR:
            return {}
        self.tokenizer.quantizer.after_step(updated)
        used = self._usage.used
        return {"codes": float(used), "perplexity": self._usage.perplexity} if used else {}

    def _model_loss(self, step: int, part: Batch) -> Loss:
        output = self.networks[MODEL].prepared(part.images, part.global_ids, self._noise(step))
        self._decoded.append(output.images.detach())
        if output.quantized is not None:
            self._usage.add(output.quantized.indices)
        return self.generator_loss(step, part, output)

    def generator_loss(self, step: int, part: Batch, output: Reconstruction) -> Loss:
        """The loss of one part's reconstruction.

        λ₁ · L1 + … + weight · ratio · adversarial + quantization.
        """
        terms = reconstruction_terms(part.images, output.images, self.perceptual)
        value = total = weighted_sum(terms, self.config)
        if self.schedule.uses_adversarial_loss(step):
            weight, adversarial = self.schedule.adversarial_weight(step), self._adversarial(output.images)
            last_weight = self.tokenizer.decoder.last_weight
            balance = GradientBalance.of(value, adversarial, output.images, last_weight)
            ratio = self._ratio if self._ratio is not None else self._ratio_of(balance.at_layer)
            terms |= {"adversarial": adversarial, "ratio": ratio}
            total = value + weight * ratio * adversarial
            # Both terms are differentiated down to the images already. The gradient of <images, g> is g:
            # one backward pass from there carries their weighted sum.
            gradient = balance.at_images[0] + weight * ratio * balance.at_images[1]
            value = (output.images * gradient).sum()
        if output.quantized is not None:
            terms |= output.quantized.terms
            value, total = value + output.quantized.loss, total + output.quantized.loss
        terms["loss"] = total
        return Loss(value, {name: term.detach() for name, term in terms.items()})

    def _discriminator_loss(self, part: Batch) -> Loss:
        discriminator = self.networks[DISCRIMINATOR]
        discriminator.network.requires_grad_(True)  # the generator's term had switched it off
        real = discriminator.prepared(part.images)
        decoded = discriminator.prepared(self._decoded.popleft())
        loss = discriminator_term(real, decoded)
        means = {
            "verdict_real": real.detach().float().mean(),
            "verdict_painted": decoded.detach().float().mean(),
        }
        return Loss(loss, {"discriminator": loss.detach(), **means})

    def _common_ratio(self, step: int, parts: Sequence[Batch]) -> Tensor:
        """The adaptive ratio of all parts together.

        It needs one more forward pass, in which only the last layer keeps a graph.
        """
        last_weight, at_layer = self.tokenizer.decoder.last_weight, []
        with _only_graph_of(last_weight, self.tokenizer):
            for part in parts:
                images = self.tokenizer(part.images, part.global_ids, self._noise(step)).images
                loss = weighted_sum(reconstruction_terms(part.images, images, self.perceptual), self.config)
                adversarial = self._adversarial(images)
                at_layer.append(GradientBalance.of(loss, adversarial, images, last_weight).at_layer)
        return self._ratio_of(torch.stack(at_layer).mean(dim=0))  # (parts, 2, P) → (2, P)

    def _ratio_of(self, at_layer: Tensor) -> Tensor:
        return adaptive_ratio(self.processes.reduce(at_layer, "mean"))

    def _adversarial(self, decoded: Tensor) -> Tensor:
        """The generator's term; no gradient reaches the discriminator."""
        discriminator = self.networks[DISCRIMINATOR].network.requires_grad_(False)
        return generator_term(discriminator(decoded))

    def _noise(self, step: int) -> float | None:
        return None if self.schedule.quantizes(step) else self.config.feature_noise


def train_words_alone(tokenizer: GridAutoencoder) -> None:
    """Freeze all weights but the decoder's cross-attention to the global words.

    Raises:
        V2LError: the decoder has no cross-attention.
    """
    attention = tokenizer.decoder.mid.cross_attn_1
    if attention is None:
        raise V2LError(
            "got training.trained = words for a decoder without cross-attention",
            "model.cross_attention: true, or training.trained: all",
        )
    tokenizer.requires_grad_(False)
    attention.requires_grad_(True)


def memory_format(config: TrainingConfig) -> torch.memory_format:
    """The order of a feature map's values in memory: channels last is faster.

    When the words alone are trained, gradients pass through frozen group norms. For these, torch 2.8 and 2.9
    end the process in the backward pass of the channels-last kernel on a CPU.
    """
    return torch.contiguous_format if config.trained == "words" else torch.channels_last


def optimized(network: nn.Module, config: TrainingConfig, processes: Accelerator) -> OptimizerStep:
    """A network on its device, compiled if the config says so, with Adam."""
    network.to(processes.device)
    network.to(memory_format=memory_format(config))
    first, second = config.betas
    optimizer = torch.optim.Adam(
        network.train().parameters(),
        lr=config.learning_rate,
        betas=(first, second),
        eps=ADAM_EPSILON,
        fused=processes.device.type in FUSED_DEVICES,
    )
    if config.compile:
        network.compile()
    return OptimizerStep(network, optimizer, processes, config.clip_norm)


@contextmanager
def _only_graph_of(weight: Tensor, network: GridAutoencoder) -> Iterator[None]:
    """A block in which a network keeps the graph of one weight alone, and updates no statistics."""
    others = [
        parameter for parameter in network.parameters() if parameter.requires_grad and parameter is not weight
    ]
    network.eval()
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
        network.train()

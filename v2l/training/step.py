"""a batch ──► one step of the tokenizer and of its discriminator, and the loss terms by name.

One forward pass of the tokenizer serves both networks; the discriminator sees the painted images without gradient. A step whose
images are seen in parts is the step of all of them. Sources: V2L Tokenizer, arXiv 2403.07874, section 4.1; VQGAN, arXiv 2012.09841,
section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from v2l.perceptual import PerceptualDistance
from v2l.processes import Accelerator
from v2l.tokenizers.grid.encoder import to_network_range
from v2l.tokenizers.grid.model import Reconstruction, V2LTokenizer
from v2l.tokenizers.quantizers.usage import CodeUsage
from v2l.training.data import Batch
from v2l.training.discriminator import build_discriminator
from v2l.training.losses import (
    adaptive_ratio,
    discriminator_term,
    generator_term,
    pulls,
    reconstruction_terms,
    weighted_sum,
)
from v2l.training.optimizer_step import Learner
from v2l.training.schedule import Schedule

Terms = dict[str, float]


class Part(NamedTuple):
    """Images that are seen at once."""

    images: Tensor  # (B, 3, S, S) float32 in [-1, 1]
    global_ids: Tensor  # (B, G) int64


class TrainingStep:
    """What a batch does to the networks.

    Args:
        tokenizer: the tokenizer to train; its config says how.
        perceptual: a frozen perceptual network, or None.
        processes: the world of processes.
        seed: of the noise on features.

    Attributes:
        learners: `model` and, with an adversarial weight, `discriminator`.
        schedule: what the config's fractions mean in steps.
    """

    def __init__(
        self,
        tokenizer: V2LTokenizer,
        perceptual: PerceptualDistance | None,
        processes: Accelerator,
        seed: int = 0,
    ) -> None:
        self.tokenizer, self.perceptual, self.processes, self.seed = tokenizer, perceptual, processes, seed
        self.config = tokenizer.config.training
        self.schedule = Schedule(self.config)
        judged = self.config.adversarial_weight > 0
        networks = {"model": tokenizer} | (
            {"discriminator": build_discriminator(self.config.discriminator_norm)} if judged else {}
        )
        self.learners = {name: Learner(network, self.config, processes) for name, network in networks.items()}

    def __call__(self, step: int, batch: Batch) -> Terms:
        """Make one step.

        Args:
            step: how many steps were made before.
            batch: this process's share; as many parts as the config accumulates, of equal size.

        Returns:
            The loss terms, unweighted, as means over the parts: `l1`, `l2`, `perceptual`, `commitment`, `codebook`, `adversarial`, its
            `ratio`, the whole `loss`, `discriminator` and its mean verdicts; `codes` used and their `perplexity`; `learning_rate`; and
            how many updates were `skipped` because a gradient was not finite.
        """
        torch.manual_seed(
            self.seed * 1_000_003 + step * self.processes.num_processes + self.processes.process_index
        )
        rate, parts = self.schedule.learning_rate(step), self._parts(batch)
        terms, painted = self.generate(step, parts)
        made = [self.learners["model"].step(rate)]
        self.tokenizer.quantizer.after_step(made[0])
        if self.schedule.discriminates(step):
            terms |= self.discriminate(parts, painted)
            made.append(self.learners["discriminator"].step(rate))
        return {**terms, "learning_rate": rate, "skipped": float(made.count(False))}

    def generate(self, step: int, parts: Sequence[Part]) -> tuple[Terms, list[Tensor]]:
        """Gradients of the tokenizer; returns the terms and the painted images (B, 3, S, S) of each part, without gradient."""
        learner, told, painted = self.learners["model"], [], []
        usage = CodeUsage(self.tokenizer.quantizer.codebook_size)
        ratio = self._common_ratio(step, parts) if self.schedule.deceives(step) and len(parts) > 1 else None
        for place, part in enumerate(parts, start=1):
            with learner.part(last=place == len(parts)):
                done = learner.prepared(part.images, part.global_ids, self._noise(step))
                loss, terms = self._objective(step, part, done, ratio)
                learner.backward(loss / len(parts))
            told.append(terms)
            painted.append(done.images.detach())
            if done.quantized is not None:
                usage.add(done.quantized.indices)
        codes = {"codes": float(usage.used), "perplexity": usage.perplexity} if usage.used else {}
        return _means(told) | codes, painted

    def discriminate(self, parts: Sequence[Part], painted: Sequence[Tensor]) -> Terms:
        """Gradients of the discriminator; returns its terms."""
        learner, told = self.learners["discriminator"], []
        learner.network.requires_grad_(True)
        for place, (part, fake) in enumerate(zip(parts, painted, strict=True), start=1):
            with learner.part(last=place == len(parts)):
                verdicts = learner.prepared(part.images), learner.prepared(fake)
                loss = discriminator_term(*verdicts)
                learner.backward(loss / len(parts))
            means = (verdict.detach().float().mean() for verdict in verdicts)
            told.append(
                {
                    "discriminator": loss.detach(),
                    **dict(zip(("verdict_real", "verdict_painted"), means, strict=True)),
                }
            )
        return _means(told)

    def _objective(
        self, step: int, part: Part, done: Reconstruction, ratio: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What to differentiate, and the terms; the ratio is that of this part when none is given."""
        terms = reconstruction_terms(part.images, done.images, self.perceptual)
        loss = value = weighted_sum(terms, self.config)
        if self.schedule.deceives(step):
            adversarial, weight = self._deceit(done.images), self.schedule.adversarial_weight(step)
            pull = pulls(loss, adversarial, done.images, self.tokenizer.decoder.last_weight)
            ratio = adaptive_ratio(self.processes.reduce(pull.at_layer, "mean")) if ratio is None else ratio
            terms |= {"adversarial": adversarial, "ratio": ratio}
            value = loss + weight * ratio * adversarial
            # Both terms were differentiated down to the images: from there on one backward pass carries their weighted sum.
            loss = (done.images * (pull.at_images[0] + weight * ratio * pull.at_images[1])).sum()
        if done.quantized is not None:
            terms |= done.quantized.terms
            loss, value = loss + done.quantized.loss, value + done.quantized.loss
        terms["loss"] = value
        return loss, {name: term.detach() for name, term in terms.items()}

    def _common_ratio(self, step: int, parts: Sequence[Part]) -> Tensor:
        """The adaptive ratio of all parts together: one more forward pass, of which only the last layer keeps a graph."""
        last_weight, at_layer = self.tokenizer.decoder.last_weight, []
        with _only_trains(self.tokenizer, last_weight):
            for part in parts:
                images = self.tokenizer(part.images, part.global_ids, self._noise(step)).images
                loss = weighted_sum(reconstruction_terms(part.images, images, self.perceptual), self.config)
                at_layer.append(pulls(loss, self._deceit(images), images, last_weight).at_layer)
        return adaptive_ratio(self.processes.reduce(torch.stack(at_layer).mean(dim=0), "mean"))

    def _deceit(self, painted: Tensor) -> Tensor:
        """The generator's term; no gradient reaches the discriminator."""
        discriminator = self.learners["discriminator"].network.requires_grad_(False)
        return generator_term(discriminator(painted))

    def _noise(self, step: int) -> float | None:
        return None if self.schedule.quantizes(step) else self.config.feature_noise

    def _parts(self, batch: Batch) -> list[Part]:
        device, size = self.processes.device, -(-len(batch.images) // self.config.accumulate)
        images = to_network_range(batch.images.to(device)).contiguous(memory_format=torch.channels_last)
        return [
            Part(*pair)
            for pair in zip(images.split(size), batch.global_ids.to(device).split(size), strict=True)
        ]


@contextmanager
def _only_trains(network: V2LTokenizer, weight: Tensor) -> Iterator[None]:
    """A network that keeps no graph but that of one weight, and records nothing."""
    trained = [
        parameter for parameter in network.parameters() if parameter.requires_grad and parameter is not weight
    ]
    network.eval()
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        network.train()


def _means(told: Sequence[dict[str, Tensor]]) -> Terms:
    """The mean of each term over the parts; one transfer from the device a part."""
    values = [torch.stack([term.float() for term in terms.values()]).tolist() for terms in told]
    return {name: fmean(column) for name, column in zip(told[0], zip(*values, strict=True), strict=True)}

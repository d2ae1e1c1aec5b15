"""frozen features of the grid tokenizer ──► a trained latent tokenizer (TiTok), in two stages.

Stage one: the decoder predicts the features from the latents' codes, by their squared error or by the
cross-entropy of the grid's codes. Stage two: encoder, latents and codebook are frozen; the decoder is
trained on pixels, through the frozen pixel decoder, and against a discriminator if its weight is not 0.
Each step draws one length: latents behind it are dropped, so that one model decodes from several lengths.
Sources: TiTok, arXiv 2406.07550, section 3.3; tail dropout: Rippel, Gelbart and Adams, arXiv 1402.0915.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from v2l.drawings import image_grid
from v2l.errors import V2LError
from v2l.metrics import psnr
from v2l.perceptual import PerceptualDistance
from v2l.processes import Accelerator
from v2l.tokenizers.cnn.encoder import to_image_range, to_network_range
from v2l.tokenizers.latents.linear_code import fit_linear
from v2l.tokenizers.latents.model import TiTokTokenizer
from v2l.tokenizers.latents.settings import LatentConfig, LatentTraining
from v2l.tokenizers.quantizers.base import nearest
from v2l.tokenizers.quantizers.usage import CodeUsage
from v2l.training.discriminator import build_discriminator
from v2l.training.lecam import LeCamDiscriminator
from v2l.training.loop import LoopSettings
from v2l.training.losses import discriminator_term, generator_term, reconstruction_terms
from v2l.training.optimizer_step import OptimizerStep
from v2l.training.recipe import Loss, Phase, Recipe, Terms
from v2l.training.recipes.latent_data import GridFeatures
from v2l.training.schedule import WarmupCosine

MODEL, DISCRIMINATOR = "model", "discriminator"
HELD_OUT = 16  # every so many images only validate
VALIDATED, PAGE_IMAGES, FITTED = 64, 8, 4096  # images at most
FREE = ("save_every", "log_every", "validate_every", "picture_every")  # may differ when a run goes on


class LatentRecipe(Recipe[Tensor]):
    """A latent tokenizer in training; its parts are the places of images in the features.

    Args:
        tokenizer: the tokenizer to train, with a grid tokenizer.
        features: frozen features of the training images; every sixteenth image only validates.
        config: how it is trained.
        perceptual: a frozen perceptual network for stage two, or None.
        processes: the processes that train together.
        seed: of everything that is drawn at random.

    Raises:
        V2LError: the tokenizer is a released one, with a pixel decoder of its own, or there are few images.
    """

    name, result = "titok", "model"

    def __init__(
        self,
        tokenizer: TiTokTokenizer,
        features: GridFeatures,
        config: LatentConfig,
        perceptual: PerceptualDistance | None,
        processes: Accelerator,
        seed: int = 0,
    ) -> None:
        if tokenizer.grid is None:
            raise V2LError("got a released model, which is not trained here", "pixel_decoder: grid")
        self.tokenizer, self.grid, self.config = tokenizer, tokenizer.grid, config
        self.perceptual, self.processes, self.seed = perceptual, processes, seed
        self.features, self.held_out = features.split(HELD_OUT, VALIDATED)
        self.fitted = spread(len(self.features.files), FITTED)
        self.variance = float(self.features.rows[self.fitted].float().var(dim=0).mean())
        training = config.training
        self.networks = {MODEL: self._optimized(tokenizer.network)}
        if training.adversarial_weight > 0:
            discriminator = LeCamDiscriminator(build_discriminator())
            self.networks[DISCRIMINATOR] = self._optimized(discriminator)
        self.examples_per_step = training.batch_size * processes.num_processes
        self.fit_steps = {0} if config.network.codebook == "words" else set()
        self._usage = CodeUsage(tokenizer.codebook_size)
        # Of this step, for the discriminator: real and decoded images, and the mean logits of both.
        self._pair, self._means = (torch.empty(0), torch.empty(0)), torch.zeros(2)

    def _optimized(self, network: nn.Module) -> OptimizerStep:
        training, network = self.config.training, network.to(self.processes.device).train()
        optimizer = AdamW(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
        return OptimizerStep(network, optimizer, self.processes, clip_norm=1.0)

    @property
    def pixel_step(self) -> int:
        """The first step of stage two."""
        return round(self.config.training.pixel_start * self.config.training.steps)

    @property
    def adversarial_step(self) -> int:
        """The first step with the adversarial term; the number of all steps if there is none."""
        training, first = self.config.training, self.pixel_step
        if training.adversarial_weight == 0:
            return training.steps
        return first + round(training.adversarial_start * (training.steps - first))

    def trained(self, step: int) -> list[str]:
        return [MODEL, DISCRIMINATOR] if step >= self.adversarial_step else [MODEL]

    def learning_rate(self, step: int) -> float:
        """Half a cosine in each stage."""
        training, first = self.config.training, self.pixel_step
        if step >= first:
            peak = training.pixel_rate * training.learning_rate
            return WarmupCosine(peak, training.steps - first).at(step - first)
        warmup = round(training.warmup_fraction * first)
        return WarmupCosine(training.learning_rate, first, warmup).at(step)

    def batches(self, first: int, last: int) -> Iterator[Sequence[Tensor]]:
        size = self.config.training.batch_size
        own = self.processes.process_index * size
        for step in range(first, last):
            yield [self.features.places(self.examples_per_step, self.seed, step)[own : own + size]]

    def before_step(self, step: int, parts: Sequence[Tensor]) -> None:
        network = self.tokenizer.network
        for trained in (network.encoder, network.quantizers, network.latent_tokens):
            if trained is not None:
                trained.requires_grad_(step < self.pixel_step)
        self._usage = CodeUsage(self.tokenizer.codebook_size)

    def loss(self, step: int, part: Tensor, network: str) -> Loss:
        if network == DISCRIMINATOR:
            return self._discriminator_loss()
        length = Random(f"{self.seed}/{step}").choice(self.tokenizer.lengths)
        if step < self.pixel_step:
            return self._feature_loss(part, length)
        return self._pixel_loss(part, length, adversarial=step >= self.adversarial_step)

    def after_update(self, step: int, network: str, updated: bool) -> Terms:
        if network == MODEL:
            return {"codes": float(self._usage.used)}
        if updated:  # logits of a skipped update may not be finite
            self._discriminator.follow(self.processes.reduce(self._means, "mean"))
        return {}

    def _feature_loss(self, part: Tensor, length: int) -> Loss:
        """Stage one: the squared error of the features, relative to their variance, or the codes' loss."""
        coded, predicted = self.networks[MODEL].prepared(*self._read(part), length)
        self._usage.add(coded.indices)
        wanted = self._features(part)
        error = (predicted - wanted).square().mean() / self.variance
        terms = {"features": error, "quantizer": coded.loss, f"features_{length}": error}
        value = error
        if self.config.training.target == "codes":
            value = terms["nats"] = code_loss(predicted, wanted, self.grid.entries(predicted.device))
        return Loss(value + coded.loss, {name: term.detach() for name, term in terms.items()})

    def _pixel_loss(self, part: Tensor, length: int, adversarial: bool) -> Loss:
        """Stage two: the squared error of pixels, the perceptual distance, and the adversarial term."""
        coded, predicted = self.networks[MODEL].prepared(*self._read(part), length)
        self._usage.add(coded.indices)
        images = to_network_range(self.features.pixels(part).to(self.processes.device))
        painted, training = self.grid.paint(predicted), self.config.training
        terms = reconstruction_terms(images, painted, self.perceptual)
        value = terms["l2"]
        if self.perceptual is not None:
            value = value + training.perceptual_weight * terms["perceptual"]
        if adversarial:
            discriminator = self._discriminator.requires_grad_(False)
            terms["adversarial"] = generator_term(discriminator(painted))
            value = value + training.adversarial_weight * terms["adversarial"]
            self._pair = images, painted.detach()
        return Loss(value, {name: term.detach() for name, term in terms.items()})

    def _discriminator_loss(self) -> Loss:
        """Stage two: the hinge loss of the discriminator, and LeCam's penalty."""
        step, discriminator = self.networks[DISCRIMINATOR], self._discriminator
        discriminator.requires_grad_(True)  # the generator's term had switched it off
        real, decoded = map(step.prepared, self._pair)
        terms = {"discriminator": discriminator_term(real, decoded)}
        terms["lecam"] = discriminator.penalty(real, decoded)
        self._means = torch.stack([real.detach().float().mean(), decoded.detach().float().mean()])
        value = terms["discriminator"] + self.config.training.lecam_weight * terms["lecam"]
        return Loss(value, {name: term.detach() for name, term in terms.items()})

    @property
    def _discriminator(self) -> LeCamDiscriminator:
        network = self.networks[DISCRIMINATOR].network
        assert isinstance(network, LeCamDiscriminator)
        return network

    def _features(self, part: Tensor) -> Tensor:
        return self.features.rows[part].float().to(self.processes.device)

    def _read(self, part: Tensor) -> tuple[Tensor]:
        """What the encoder reads of some images."""
        if self.config.network.reads == "features":
            return (self._features(part),)
        return (self.features.pixels(part).to(self.processes.device),)

    @torch.no_grad()
    def fit(self, step: int) -> None:
        """Fit the linear code and the words to training images: the same in every process."""
        network, latents = self.tokenizer.network, self.config.network.latents
        if network.linear is not None:
            quantizers = [network.block_quantizer(block) for block in range(len(network.blocks))]
            fit_linear(network.linear, quantizers, self._features(self.fitted))
            return
        parts = [network.encode(*self._read(part), latents) for part in self.fitted.split(32)]
        network.block_quantizer(0).fit(torch.cat([coded.vectors.flatten(0, 1) for coded in parts]))

    @torch.no_grad()
    def validate(self, step: int) -> Terms:
        """Error of the features and PSNR at each length, on images that are not trained on."""
        network, device = self.tokenizer.network.eval(), self.processes.device
        target = self.held_out.rows[:].float().to(device)
        images = self.held_out.pixels(torch.arange(len(target)))
        read = target if self.config.network.reads == "features" else images.to(device)
        found: Terms = {}
        for length in self.tokenizer.lengths:
            _, predicted = network(read, length)
            found[f"features_{length}"] = float((predicted - target).square().mean()) / self.variance
            painted = to_image_range(self.grid.paint(predicted)).cpu()
            found[f"psnr_{length}"] = float(psnr(painted, images).mean())
        network.train()
        return found

    @torch.no_grad()
    def page(self, step: int) -> Tensor:
        """Held-out images above what each length decodes to: the same images every time."""
        network = self.tokenizer.network.eval()
        images = self.held_out.pixels(torch.arange(min(PAGE_IMAGES, len(self.held_out.rows))))
        patches = self.tokenizer.patches(images.to(self.processes.device))
        rows = [list(images)]
        for length in self.tokenizer.lengths:
            painted = self.grid.paint(network(patches, length)[1])
            rows.append(list(to_image_range(painted).cpu()))
        network.train()
        return image_grid(rows, [[""] * len(images)] * len(rows), cell=images.shape[-1])

    def phases(self, steps: int) -> list[Phase]:
        first, adversarial = (
            round(start * steps / self.config.training.steps)
            for start in (self.pixel_step, self.adversarial_step)
        )
        stages = [
            Phase("features", 0, first),
            Phase("pixels", first, adversarial),
            Phase("pixels, adversarial term", adversarial, steps),
        ]
        return [stage for stage in stages if stage.end > stage.first]

    def metadata(self) -> dict[str, Any]:
        training = {key: value for key, value in asdict(self.config.training).items() if key not in FREE}
        return {
            **{f"network.{key}": _plain(value) for key, value in asdict(self.config.network).items()},
            **{f"training.{key}": value for key, value in training.items()},
            "seed": self.seed,
            "processes": self.processes.num_processes,
            "images": self.features.description,
            "grid": self.grid.fingerprint,
        }

    def metadata_defaults(self) -> dict[str, Any]:
        """An older state was trained on features and without a discriminator, and does not say so."""
        training = LatentTraining()
        return {
            "training.target": "features",
            "training.adversarial_weight": 0.0,
            "training.adversarial_start": training.adversarial_start,
            "training.lecam_weight": training.lecam_weight,
        }

    def save_result(self, folder: Path, step: int) -> None:
        self.tokenizer.facts = {
            "steps": step,
            "of": self.config.training.steps,
            "images": self.features.description,
            "seed": self.seed,
            "perceptual": self.config.training.perceptual if step > self.pixel_step else "none",
        }
        self.tokenizer.save_pretrained(folder, half=True)

    def loop_settings(self, run: Path) -> LoopSettings:
        """The settings of the loop."""
        training = self.config.training
        return LoopSettings(
            run,
            training.steps,
            training.save_every,
            log_every=training.log_every,
            picture_every=training.picture_every,
            validate_every=training.validate_every,
            ema_decay=training.ema_decay,
        )


def code_loss(predicted: Tensor, wanted: Tensor, entries: Tensor) -> Tensor:
    """The cross-entropy of the grid's codes, in nats a cell, ().

    The probability of an entry is proportional to a normal density around the predicted feature; its variance
    is the mean squared error of the batch. So no head over all entries is needed (ours; TiTok has one).

    Args:
        predicted: (B, d, h, w), with gradient.
        wanted: (B, d, h, w) features before the lookup; their nearest entries are the codes.
        entries: (V, d).
    """
    rows, goals = (features.movedim(1, -1).flatten(0, 2) for features in (predicted, wanted))  # (B·h·w, d)
    variance = (rows - goals).detach().square().mean()
    closeness = rows @ entries.T - entries.square().sum(dim=-1) / 2  # -|row - entry|² / 2, but for |row|²
    return cross_entropy(closeness / variance, nearest(goals, entries))


def spread(count: int, most: int) -> Tensor:
    """At most `most` of `count` places, evenly spread, because files of one class lie beside each other."""
    return torch.arange(0, count, -(-count // most))


def _plain(value: Any) -> Any:
    """A setting as JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value

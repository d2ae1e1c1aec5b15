"""frozen features with their clusters + pixels ──► a trained merger and detokenizer (SeTok).

Loss: pixels, perceptual distance, the multi-label contrastive loss of concepts, and on request an adversarial
term. Some images of a batch have plain means of k-means clusters as tokens, so that the detokenizer knows the
baseline as well as what the merger gives, and a comparison is fair. Source: SeTok, arXiv 2406.05127, sections
3.2 and 3.3; the adversarial term: VQGAN, arXiv 2012.09841, equations 5 to 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.drawings import image_grid
from v2l.perceptual import PerceptualDistance
from v2l.processes import Accelerator
from v2l.tokenizers.clusters.concepts import concept_loss, concepts_of_batch
from v2l.tokenizers.clusters.model import ClusterTokenizer
from v2l.tokenizers.clusters.network import DividedImages, Painted
from v2l.tokenizers.clusters.settings import ClusterConfig
from v2l.tokenizers.cnn.encoder import to_image_range
from v2l.training.discriminator import build_discriminator
from v2l.training.losses import (
    GradientBalance,
    adaptive_ratio,
    discriminator_term,
    generator_term,
    reconstruction_terms,
)
from v2l.training.recipe import Loss, Phase, Terms
from v2l.training.recipes.cluster_data import ClusterBatch, ClusterImages
from v2l.training.recipes.patch_recipe import PatchRecipe, held_out

MODEL, DISCRIMINATOR = "model", "discriminator"
MOST_HELD_OUT = 64  # images that only validate, at most
SHOWN = 8  # images of a page
VALIDATION_BATCH = 16


class ClusterRecipe(PatchRecipe[ClusterBatch]):
    """Merger and detokenizer in training.

    Args:
        tokenizer: the tokenizer to train.
        images: training images; every eighth one only validates.
        config: how it is trained.
        perceptual: a frozen network, or None.
        processes: the processes that train together.
        seed: of everything that is drawn at random.
    """

    name = "setok"
    tokenizer: ClusterTokenizer
    config: ClusterConfig

    def __init__(
        self,
        tokenizer: ClusterTokenizer,
        images: ClusterImages,
        config: ClusterConfig,
        perceptual: PerceptualDistance | None,
        processes: Accelerator,
        seed: int = 0,
    ) -> None:
        super().__init__(tokenizer, config, processes, seed)
        self.perceptual = perceptual
        self.images, self.held_out = split(images)
        assert tokenizer.network is not None
        self.network, training = tokenizer.network, config.training
        self.networks = {MODEL: self.optimized(self.network)}
        if training.adversarial_weight > 0:
            self.networks[DISCRIMINATOR] = self.optimized(build_discriminator(training.discriminator_norm))
        vectors = normalize(tokenizer.namer.codebook.embeddings.float(), dim=-1)
        self.concept_vectors = vectors.to(processes.device)  # (V, D)
        self._painted = torch.empty(0)  # images of this step that the discriminator has not seen yet

    @property
    def description(self) -> str:
        return self.images.features.description

    def facts(self) -> dict[str, Any]:
        return {"perceptual": self.config.training.perceptual}

    def trained(self, step: int) -> list[str]:
        return [MODEL, DISCRIMINATOR] if self._is_adversarial(step) else [MODEL]

    def phases(self, steps: int) -> list[Phase]:
        training = self.config.training
        begins = [0.0, training.perceptual_start]
        begins += [training.adversarial_start] if training.adversarial_weight > 0 else []
        starts = sorted({math.ceil(share * steps) for share in begins if share < 1})
        ends = [*starts[1:], steps]
        return [Phase(self._terms(start), start, end) for start, end in zip(starts, ends, strict=True)]

    def batches(self, first: int, last: int) -> Iterator[Sequence[ClusterBatch]]:
        own = self.seed * self.processes.num_processes + self.processes.process_index
        size = self.config.training.batch_size
        for batch in self.images.batches(self.config, size, own, range(first, last)):
            yield [on_device(batch, self.processes.device)]

    def loss(self, step: int, part: ClusterBatch, network: str) -> Loss:
        return self._discriminator_loss(part) if network == DISCRIMINATOR else self._model_loss(step, part)

    @torch.no_grad()
    def validate(self, step: int) -> Terms:
        """The loss network's distance and the pixels' error of images that are not trained on: both kinds of
        tokens.
        """
        figures: Terms = {}
        for name, plain_share in (("merged", 0.0), ("means", 1.0)):
            found = [
                reconstruction_terms(batch.divided.images, self._paint(batch).images, self.perceptual)
                for batch in self._held_out_batches(plain_share)
            ]
            for term in found[0]:
                mean = torch.stack([each[term] for each in found]).mean()
                figures[f"{name}_{term}"] = mean.item()
        return figures

    @torch.no_grad()
    def page(self, step: int) -> Tensor:
        """Held-out images above what merged tokens and plain means give."""
        places = torch.arange(min(SHOWN, len(self.held_out.pixels)))
        batches = [on_device(self.held_out.batch(places, share), self.processes.device) for share in (0, 1)]
        rows = [batches[0].divided.images, *(self._paint(batch).images for batch in batches)]
        names = ("image", "merged", "means of k-means clusters")
        labels = [[name] * len(places) for name in names]
        return image_grid([list(to_image_range(row.cpu())) for row in rows], labels, cell=128)

    def _terms(self, step: int) -> str:
        """The terms of the loss at a step, for people."""
        terms = ["pixels", "concepts"]
        terms += ["perceptual distance"] if self._is_perceptual(step) else []
        terms += ["adversarial term"] if self._is_adversarial(step) else []
        return ", ".join(terms)

    def _is_perceptual(self, step: int) -> bool:
        return step >= self.config.training.perceptual_start * self.config.training.steps

    def _is_adversarial(self, step: int) -> bool:
        training = self.config.training
        return training.adversarial_weight > 0 and step >= training.adversarial_start * training.steps

    def _model_loss(self, step: int, part: ClusterBatch) -> Loss:
        painted: Painted = self.networks[MODEL].prepared(part.divided, part.merged)
        training = self.config.training
        perceptual = self.perceptual if self._is_perceptual(step) else None
        terms = reconstruction_terms(part.divided.images, painted.images, perceptual)
        weights = {
            "l1": training.l1_weight,
            "l2": training.l2_weight,
            "perceptual": training.perceptual_weight,
        }
        value = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        if self._is_adversarial(step):
            value, adversarial = self._with_adversarial(value, painted.images)
            terms |= adversarial
        terms["concepts"] = self._concept_loss(painted, part)
        value = value + training.concept_weight * terms["concepts"]
        return Loss(value, {name: term.detach() for name, term in terms.items()})

    def _concept_loss(self, painted: Painted, part: ClusterBatch) -> Tensor:
        """The contrastive loss of the images with merged tokens, ()."""
        if not part.merged:
            return 0 * painted.concepts.sum()
        rows, has = concepts_of_batch(part.concepts[: part.merged])
        tokens, present = painted.concepts[: part.merged], painted.tokens.present[: part.merged]
        return concept_loss(tokens, present, has, self.concept_vectors[rows])

    def _with_adversarial(self, value: Tensor, painted: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The reconstruction terms () of painted images ──► a value that has the adversarial gradient, too.

        Both terms are differentiated down to the images once. The gradient of <images, g> is g: one backward
        pass from there carries their weighted sum.
        """
        discriminator = self.networks[DISCRIMINATOR].network.requires_grad_(False)
        adversarial = generator_term(discriminator(painted))
        balance = GradientBalance.of(value, adversarial, painted, self.network.detokenizer.head.last.weight)
        ratio = adaptive_ratio(self.processes.reduce(balance.at_layer, "mean"))
        weight = self.config.training.adversarial_weight * ratio
        self._painted = painted.detach()
        gradient = balance.at_images[0] + weight * balance.at_images[1]
        return (painted * gradient).sum(), {"adversarial": adversarial, "ratio": ratio}

    def _discriminator_loss(self, part: ClusterBatch) -> Loss:
        discriminator = self.networks[DISCRIMINATOR]
        discriminator.network.requires_grad_(True)  # the generator's term had switched it off
        real, painted = discriminator.prepared(part.divided.images), discriminator.prepared(self._painted)
        loss = discriminator_term(real, painted)
        return Loss(loss, {"discriminator": loss.detach()})

    def _paint(self, batch: ClusterBatch) -> Painted:
        self.network.eval()
        painted: Painted = self.network(batch.divided, batch.merged)
        self.network.train()
        return painted

    def _held_out_batches(self, plain_share: float) -> Iterator[ClusterBatch]:
        for places in torch.arange(len(self.held_out.pixels)).split(VALIDATION_BATCH):
            yield on_device(self.held_out.batch(places, plain_share), self.processes.device)


def split(images: ClusterImages) -> tuple[ClusterImages, ClusterImages]:
    """All images ──► those to train on, and those that only validate (none is both, if there are enough)."""
    held = held_out(len(images.pixels))
    held &= held.cumsum(dim=0) <= MOST_HELD_OUT
    return images.only(~held), images.only(held if held.any() else ~held)


def on_device(batch: ClusterBatch, device: torch.device) -> ClusterBatch:
    """The same batch on a device."""
    divided = DividedImages(*(each.to(device) for each in batch.divided))
    return ClusterBatch(divided, batch.concepts.to(device), batch.merged)

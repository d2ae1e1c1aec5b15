"""a batch ──► one training step as the official code makes it: one forward pass for each of the two networks.

Source: its formulas as v2l's notes on the method state them. It does more than the paper needs: the second
    forward pass, and with it
the perceptual distance; the backward pass of 0 · (the tokenizer's loss) in the discriminator's step; the
adaptive weight by two passes back from the losses; the quantizer's whole matrix of distances in the graph;
one-hot histograms of the codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from plain.quantizer import quantize_plainly
from v2l.tokenizers.grid.model import V2LTokenizer

EPSILON = 1e-7


class PlainStep:
    """One step of both networks.

    Args:
        tokenizer: a V2L tokenizer, of which the parts are called one by one.
        discriminator: a PatchGAN.
        perceptual: (B, 3, H, W) twice ──► (B,) or (B, 1, 1, 1).
        rate: learning rate.
    """

    def __init__(
        self, tokenizer: V2LTokenizer, discriminator: nn.Module, perceptual: nn.Module, rate: float
    ) -> None:
        self.tokenizer, self.discriminator, self.perceptual = (
            tokenizer.train(),
            discriminator.train(),
            perceptual,
        )
        self.config = tokenizer.config.training
        networks = (tokenizer, discriminator)
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr=rate, betas=self.config.betas, eps=EPSILON)
            for net in networks
        ]

    def __call__(self, images: Tensor, global_ids: Tensor) -> dict[str, float]:
        """Images (B, 3, H, W) in [-1, 1] and their global words ──► the loss terms."""
        figures: dict[str, float] = {}
        for turn, optimizer in enumerate(self.optimizers):
            loss, terms = (self.generator_loss, self.discriminator_loss)[turn](images, global_ids)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            figures |= {name: term.item() for name, term in terms.items()}
        return figures

    def generator_loss(self, images: Tensor, global_ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the tokenizer."""
        decoded, codes, terms = self._forward(images, global_ids)
        reconstruction = terms["l1"] + self.config.perceptual_weight * terms["perceptual"]
        adversarial = -self.discriminator(decoded).mean()
        layer = self.tokenizer.decoder.last_weight
        reconstruction_norm, adversarial_norm = (
            torch.autograd.grad(term, layer, retain_graph=True)[0].norm()
            for term in (reconstruction, adversarial)
        )
        ratio = torch.clamp(reconstruction_norm / (adversarial_norm + 1e-4), 0, 1e4).detach()
        loss = reconstruction + codes + self.config.adversarial_weight * ratio * adversarial
        return loss, terms | {"adversarial": adversarial, "ratio": ratio, "loss": loss}

    def discriminator_loss(self, images: Tensor, global_ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the discriminator."""
        decoded, codes, terms = self._forward(images, global_ids)
        real = self.discriminator(images)
        fake = self.discriminator(decoded.detach())
        hinge = 0.5 * (functional.relu(1 - real).mean() + functional.relu(1 + fake).mean())
        return hinge + 0 * (terms["l1"] + codes + terms["perceptual"]), {"discriminator": hinge}

    def _forward(self, images: Tensor, global_ids: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        model = self.tokenizer
        quantized = quantize_plainly(
            model.features(images),
            model.quantizer.embeddings,
            model.quantizer.projection,
            self.config.commitment_weight,
            self.config.codebook_weight,
        )
        functional.one_hot(quantized.indices.flatten(), model.quantizer.codebook_size).sum(
            dim=0
        )  # the histogram of the codes
        decoded = model.paint(quantized.quantized, model.context(global_ids))
        terms = {"l1": (decoded - images).abs().mean(), "perceptual": self.perceptual(decoded, images).mean()}
        return decoded, quantized.loss, terms | quantized.terms

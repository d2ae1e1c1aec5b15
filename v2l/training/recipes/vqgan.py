"""images ──► a trained VQ-VAE or VQGAN: the grid's recipe with a learned codebook.

Sources: VQ-VAE, arXiv 1711.00937; VQGAN, arXiv 2012.09841.
"""

from __future__ import annotations

from pathlib import Path

from v2l.checkpoint import file_hash, load_tensors
from v2l.tokenizers.cnn.autoencoder import GridAutoencoder
from v2l.tokenizers.module_weights import load_strictly
from v2l.training.recipes.grid import GridRecipe

NETWORKS = "networks of "  # begins the origin of weights that came without a codebook
OWN_OF_WORDS = ("quantizer.", "decoder.mid.cross_attn_1.")  # weights of V2L that have no place here


class VqganRecipe(GridRecipe):
    """The grid's recipe; the codebook starts from k-means of features when the quantizer starts."""

    name = "vqgan"
    fit_batches = 96  # k-means needs several features for each of its centres

    def _fit_steps(self) -> set[int]:
        return super()._fit_steps() | ({self.schedule.fitting_step} if not self.has_codes else set())

    @property
    def has_codes(self) -> bool:
        """Whether the first weights have a learned codebook already."""
        return self.origin is not None and not self.origin.startswith(NETWORKS)


def start_with_networks(model: GridAutoencoder, checkpoint: Path) -> str:
    """Give a VQGAN the networks of a V2L checkpoint, without its words; returns a hash of them.

    Raises:
        V2LError: the checkpoint is damaged, or its networks do not fit the config.
    """
    weights = load_tensors(checkpoint / "model.safetensors")
    networks = {name: tensor for name, tensor in weights.items() if not name.startswith(OWN_OF_WORDS)}
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(OWN_OF_WORDS)}
    load_strictly(model, {**own, **networks}, checkpoint)
    return NETWORKS + file_hash(checkpoint / "model.safetensors")[:16]

"""pooled feature maps and the vectors of crops ──► a trained region encoder (Groma).

Loss: 1 - cosine of a box's vector, computed from one pass over the whole image, and the vector that the
frozen encoder gives for the crop of the box (distillation). One pass so learns what as many passes as boxes
would say. The published encoder is trained with detection and language losses, which need labels. Source of
the network: Groma, arXiv 2404.13013, section 3.2; distillation: arXiv 1503.02531.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from v2l.processes import Accelerator
from v2l.tokenizers.regions.model import RegionTokenizer
from v2l.tokenizers.regions.settings import RegionConfig
from v2l.training.data import shuffled_places
from v2l.training.recipe import Loss, Terms
from v2l.training.recipes.patch_recipe import PatchRecipe, held_out
from v2l.training.recipes.region_data import RegionExamples


class RegionRecipe(PatchRecipe[Tensor]):
    """A region encoder in training.

    Args:
        tokenizer: the tokenizer to train.
        examples: of the training photographs; every eighth canvas only validates.
        config: how it is trained.
        processes: the processes that train together.
        seed: of everything that is drawn at random.
    """

    name = "groma"
    tokenizer: RegionTokenizer
    config: RegionConfig

    def __init__(
        self,
        tokenizer: RegionTokenizer,
        examples: RegionExamples,
        config: RegionConfig,
        processes: Accelerator,
        seed: int = 0,
    ) -> None:
        super().__init__(tokenizer, config, processes, seed)
        assert tokenizer.network is not None
        self.examples = examples
        held, places = held_out(len(examples.rows)), torch.arange(len(examples.rows))
        self.trained_on, self.held_out = places[~held], places[held]
        self.network = tokenizer.network
        self.networks = {"model": self.optimized(self.network)}

    @property
    def description(self) -> str:
        return self.examples.description

    def batches(self, first: int, last: int) -> Iterator[Sequence[Tensor]]:
        size = self.config.training.batch_size
        own = self.processes.process_index * size
        for step in range(first, last):
            chosen = shuffled_places(len(self.trained_on), self.examples_per_step, self.seed, step)
            yield [self.trained_on[chosen[own : own + size]]]

    def loss(self, step: int, part: Tensor, network: str) -> Loss:
        found, targets = self._vectors(part, trained=True)
        value = 1 - cosine_similarity(found, targets, dim=-1).mean()
        return Loss(value, {"distance": value.detach()})

    @torch.no_grad()
    def validate(self, step: int) -> Terms:
        """The cosine to the crop's vector, and the share of equal first words, on canvases not trained on.

        Beside both stands the same without training.
        """
        self.network.eval()
        found, targets = self._held_out_vectors(trained=True)
        plain, _ = self._held_out_vectors(trained=False)
        self.network.train()
        terms = {"": found, "untrained_": plain}
        return {
            f"{name}{figure}": value
            for name, vectors in terms.items()
            for figure, value in self._agreement(vectors, targets).items()
        }

    def _held_out_vectors(self, trained: bool) -> tuple[Tensor, Tensor]:
        """`_vectors` of the canvases that are not trained on, one batch after another."""
        batches = self.held_out.split(self.config.training.batch_size)
        found, targets = zip(*(self._vectors(batch, trained) for batch in batches), strict=True)
        return torch.cat(found), torch.cat(targets)

    def _vectors(self, canvases: Tensor, trained: bool) -> tuple[Tensor, Tensor]:
        """The vectors of all boxes of some canvases, and those of their crops: (N, D) each."""
        device, examples = self.processes.device, self.examples
        rows = examples.rows[canvases].flatten(0, 1).to(device)
        levels, targets = examples.levels(rows), examples.targets(rows)
        if trained:
            boxes = examples.boxes[canvases].flatten(0, 1).to(device)
            features = self.networks["model"].prepared(levels, boxes)
        else:
            features = levels[0].mean(dim=(-2, -1))
        return self.tokenizer.joint_encoder.to_joint_space(features), targets

    def _agreement(self, vectors: Tensor, targets: Tensor) -> Terms:
        """Mean cosine, and the share of boxes whose nearest word is of one family with the crop's."""
        namer = self.tokenizer.namer
        families = namer.codebook.families
        pairs = zip(*(namer.nearest(each, 1)[1][:, 0].tolist() for each in (vectors, targets)), strict=True)
        same = [families[row] == families[other] for row, other in pairs]
        cosine = cosine_similarity(vectors, targets, dim=-1).mean().item()
        return {"cosine": cosine, "same_word": sum(same) / len(same)}

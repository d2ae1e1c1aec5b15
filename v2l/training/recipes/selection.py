"""frozen patch features ──► a trained selection (LaVIT): which patches are kept, and what their tokens say.

Loss: 1 - cosine of rebuilt and frozen features, over all patches; the squared error of the share that is
kept; the two terms of vector quantization for a learned codebook; with words, a pull of each token to the
vector of its own patch, so that its word still names the patch. Some images of a batch keep random patches,
so that merger and decoder learn to work with any choice. Source: LaVIT, arXiv 2309.04669, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from v2l.codebook.codebook import Codebook
from v2l.encoders import JointEncoder
from v2l.processes import Accelerator
from v2l.tokenizers.quantizers.base import nearest
from v2l.tokenizers.selection.draft import Draft
from v2l.tokenizers.selection.model import MOST, SelectionTokenizer
from v2l.tokenizers.selection.network import Drawn
from v2l.tokenizers.selection.selector import cut_for, ratio_loss
from v2l.tokenizers.selection.settings import SelectionConfig
from v2l.training.recipe import Loss, Terms
from v2l.training.recipes.patch_data import PatchFeatures
from v2l.training.recipes.patch_recipe import PatchRecipe, held_out

EVERY = 4  # so many-th image votes for words
BATCH = 32  # images in one pass without gradients


class SelectionRecipe(PatchRecipe[Tensor]):
    """A LaVIT tokenizer in training.

    Args:
        tokenizer: the tokenizer to train.
        features: frozen features of the training images; every eighth image only validates.
        config: how it is trained.
        processes: the processes that train together.
        seed: of everything that is drawn at random.
    """

    name = "lavit"
    tokenizer: SelectionTokenizer
    config: SelectionConfig

    def __init__(
        self,
        tokenizer: SelectionTokenizer,
        features: PatchFeatures,
        config: SelectionConfig,
        processes: Accelerator,
        seed: int = 0,
    ) -> None:
        super().__init__(tokenizer, config, processes, seed)
        held = held_out(len(features.rows))
        self.features, self.held_out = features.only(~held), features.rows.pick(held)
        self.networks = {"model": self.optimized(tokenizer.network)}

    @property
    def description(self) -> str:
        return self.features.description

    def batches(self, first: int, last: int) -> Iterator[Sequence[Tensor]]:
        size = self.config.training.batch_size
        own = self.processes.process_index * size
        for batch in self.features.batches(self.examples_per_step, self.seed, first, last):
            yield [batch[own : own + size].to(self.processes.device)]

    def loss(self, step: int, part: Tensor, network: str) -> Loss:
        training, model = self.config.training, self.tokenizer.network
        near = model.starts(part, self.joint(part))
        quantizes = step >= training.quantizer_start * training.steps
        drawn: Drawn = self.networks[network].prepared(part, near, training, quantizes)
        terms = {
            "rebuilt": 1 - cosine_similarity(drawn.rebuilt, part.flatten(1, 2), dim=-1).mean(),
            "ratio": ratio_loss(drawn.chosen, self.config.network.keep_ratio),
            "codes": self._code_loss(drawn, near),
        }
        value = terms["rebuilt"] + training.ratio_weight * terms["ratio"] + terms["codes"]
        kept_share = drawn.chosen.detach().mean()
        return Loss(value, {name: term.detach() for name, term in terms.items()} | {"kept": kept_share})

    @torch.no_grad()
    def joint(self, features: Tensor) -> Tensor:
        """Features (B, h, w, C) ──► (B, h · w, D), the patches in the joint space."""
        return self.tokenizer.joint_encoder.to_joint_space(features).flatten(1, 2)

    @torch.no_grad()
    def validate(self, step: int) -> Terms:
        """The cosine of rebuilt features, and the share that is kept, on images that are not trained on."""
        model = self.tokenizer.network.eval()
        self.tokenizer.cut.copy_(self._cut())
        parts = [self._rebuilt(part.float()) for part in self.held_out.parts(BATCH)]
        model.train()
        cosines, kept, used = (torch.cat(some) for some in zip(*parts, strict=True))
        codes = used.unique().numel()
        return {"cosine": cosines.mean().item(), "kept": kept.mean().item(), "codes_used": float(codes)}

    def _rebuilt(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, h, w, C) ──► cosines of the rebuilt ones and kept, both (B, h · w); codes in use."""
        model, features = self.tokenizer.network, features.to(self.processes.device)
        kept = self.tokenizer.choose(features)
        merged = model.merge(model.patches(features), kept)
        codes = model.code(merged, model.starts(features, self.joint(features)))
        rebuilt = model.rebuild(codes.entries, kept, (features.shape[1], features.shape[2]))
        cosines = cosine_similarity(rebuilt, features.flatten(1, 2), dim=-1)
        return cosines, kept, codes.indices[kept.bool()]

    @torch.no_grad()
    def _cut(self) -> Tensor:
        """The cut above which the wanted share of the training images' patches is."""
        model, parts = self.tokenizer.network, self.features.rows.parts(BATCH, EVERY)
        if model.draft is not None and self.config.network.chooses == "draft":
            return self._cut_of_gains(model.draft)
        chances = [model.selector(model.patches(part.float().to(self.processes.device))) for part in parts]
        return cut_for(torch.cat(chances), self.config.network.keep_ratio)

    def _cut_of_gains(self, draft: Draft) -> Tensor:
        """The same, where patches are kept by their gain: those of some training images, the best ones."""
        features = self.features.rows[:: EVERY * EVERY].float().to(self.processes.device)
        grid, ratio = (features.shape[1], features.shape[2]), self.config.network.keep_ratio
        most = round(MOST * grid[0] * grid[1])
        gains = torch.cat([order.gains for order in self.tokenizer.orders(draft, features, grid, most)])
        wanted = round(ratio * len(features) * grid[0] * grid[1])
        return gains.topk(min(wanted + 1, len(gains))).values[-1]

    def _code_loss(self, drawn: Drawn, near: Tensor) -> Tensor:
        """The loss of the codes at kept places, ()."""
        vectors, entries, kept = drawn.codes.vectors, drawn.learned, drawn.kept.detach()
        count = kept.sum().clamp(min=1)
        if entries is None:
            pull = 1 - cosine_similarity(vectors, near, dim=-1)
            return self.config.training.word_weight * (pull * kept).sum() / count
        commitment = (vectors - entries.detach()).square().sum(dim=-1)
        codebook = (entries - vectors.detach()).square().sum(dim=-1)
        return ((commitment + codebook) * kept).sum() / count


@torch.no_grad()
def fit_draft(recipe: SelectionRecipe) -> None:
    """Fit the words' prototypes and the draft to the training images of a recipe, before its first step."""
    network = recipe.tokenizer.network
    assert network.draft is not None
    parts = [part.float() for part in recipe.features.rows.parts(BATCH)]
    features = torch.cat([normalize(part.flatten(1, 2), dim=-1) for part in parts])
    near = torch.cat([recipe.joint(part.to(recipe.processes.device)) for part in parts])
    words = normalize(network.entries, dim=-1)
    network.draft.fit(features.to(near), near, words, recipe.config.network.naming)


def words_of_patches(
    codebook: Codebook, encoder: JointEncoder, features: PatchFeatures, count: int
) -> Tensor:
    """The rows of the codebook that training patches are nearest to most often: (count,) int64, ascending."""
    entries = normalize(codebook.embeddings.float(), dim=-1)
    votes = torch.zeros(len(entries), dtype=torch.int64)
    for rows in features.rows.parts(BATCH, EVERY):
        vectors = encoder.to_joint_space(rows.float().to(encoder.device)).flatten(0, 2).cpu()
        votes += nearest(vectors, entries).bincount(minlength=len(entries))
    best = votes.argsort(descending=True, stable=True)[:count]
    return best.sort().values

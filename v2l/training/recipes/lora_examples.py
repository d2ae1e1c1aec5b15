"""photographs + tokenizer + LLM ──► examples of restoration: a prompt, candidate tokens, their costs.

An example is made as restoration is done: pixels are masked or corrupted before the tokenizer sees them, and
the candidates are those that the LLM would get (the blind protocol). The cost of a candidate is the squared
distance of its code vector from that of the clean image. Source: V2L Tokenizer, arXiv 2403.07874, section
4.3; the recipe is ours, because the paper's is not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from v2l.corruptions import Corruption, draw_corruption, lower_cells
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.llm.lora import TRAINING_TEMPERATURE, AdapterExample
from v2l.pipeline.pipeline import Pipeline
from v2l.sources import ImageFile
from v2l.tasks.restoration.inpaint import MID_GREY, InpaintingPredictor, cell_candidates
from v2l.tasks.restoration.repair import CorruptionPredictor, find_source_cells, realigned_pairs, token_pair
from v2l.tasks.restoration.settings import ADAPTER, RestorationSettings
from v2l.tasks.restoration.token_prior import code_vectors
from v2l.tasks.restoration.whole_map import MapQuery
from v2l.training.data import SEED_STRIDE, epoch_order

TASKS = ("mask", "deblur", "unshift", "unrotate")
MASKED_SHARE = 0.3  # of the cells, when they are masked at random
# Training divides all scores by the temperature: with this weight the prior counts once after the division.
TRAINING_SETTINGS = replace(ADAPTER, prior_weight=TRAINING_TEMPERATURE)


@dataclass(frozen=True)
class RestorationExamples:
    """Makes training examples of photographs.

    Attributes:
        pipeline: tokenizer and LLM.
        tasks: what the examples are about; they take turns.
        settings: how the LLM is queried: as it will be in use, with a prior_weight for training.
        pairs: other photographs that show in the prompt what a corruption does.
        seed: of the order of the photographs, and of how they are masked and corrupted.
    """

    pipeline: Pipeline
    tasks: tuple[str, ...] = TASKS
    settings: RestorationSettings = TRAINING_SETTINGS
    pairs: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [task for task in self.tasks if task not in TASKS]
        if unknown or not self.tasks:
            raise V2LError(f"got task(s) {', '.join(unknown) or 'none'}", ", ".join(TASKS), "--tasks mask")

    def example(self, images: Sequence[ImageFile], number: int) -> AdapterExample:
        """One example of an endless sequence: a function of the seed and of its number, from 0.

        Raises:
            V2LError: a photograph cannot be read.
        """
        epoch, place = divmod(number, len(images))
        order = epoch_order(len(images), self.seed, epoch)
        task = self.tasks[number % len(self.tasks)]
        others = 0 if task == "mask" else min(self.pairs, len(images) - 1)
        chosen = [order[(place + step) % len(images)] for step in range(1 + others)]
        photographs = [load_image(images[index]) for index in chosen]
        generator = torch.Generator().manual_seed(self.seed * SEED_STRIDE + number)
        return self.make(photographs[0], photographs[1:], task, generator)

    def make(
        self, photograph: Tensor, others: Sequence[Tensor], task: str, generator: torch.Generator
    ) -> AdapterExample:
        """The example of one photograph.

        Args:
            photograph: (3, H, W) in [0, 1], to be masked or corrupted.
            others: (3, H, W) each; they are corrupted in the same way and shown as pairs.
            task: one of `TASKS`.
            generator: draws the mask or the corruption.
        """
        tokenizer, llm = self.pipeline.grid, self.pipeline.llm
        clean = tokenizer.square(photograph[None])
        answer = tokenizer.encode_local(clean)[0].cpu()  # (h, w)
        if task == "mask":
            query = self.masked(clean, masked_cells((answer.shape[0], answer.shape[1]), generator))
        else:
            query = self.corrupted(clean, draw_corruption(task, generator), others)
        clean_ids = answer.flatten()
        costs = [
            self.costs(candidates.ids, clean_ids[cell])
            for cell, candidates in zip(query.cells, query.allowed, strict=True)
        ]
        prompt = query.prompt
        places = llm.places(prompt.prompt, prompt.answers)
        return AdapterExample(llm.encode(prompt.prompt), places, list(query.allowed), costs)

    def masked(self, clean: Tensor, mask: Tensor) -> MapQuery:
        """The query for a photograph (1, 3, S, S) of which some cells, (h, w) bool, are masked."""
        tokenizer = self.pipeline.grid
        pixels = mask.repeat_interleave(tokenizer.factor, 0).repeat_interleave(tokenizer.factor, 1)
        seen = tokenizer.encode_local(torch.where(pixels, MID_GREY, clean))[0].cpu()
        candidates = cell_candidates(self.pipeline, seen, mask, self.settings)
        return InpaintingPredictor(self.pipeline, seen, mask, self.settings, candidates).map_query()

    def corrupted(self, clean: Tensor, corruption: Corruption, others: Sequence[Tensor]) -> MapQuery:
        """The query for a corrupted photograph (1, 3, S, S).

        The examples are other photographs (3, H, W) with the same corruption.
        """
        pipeline, factor = self.pipeline, self.pipeline.grid.factor
        size = (clean.shape[-2], clean.shape[-1])
        seen = pipeline.grid.encode_local(corruption.apply(clean).contiguous())[0].cpu()
        pairs = [token_pair(pipeline, other, corruption, size) for other in others]
        clean_grid = (size[0] // factor, size[1] // factor)
        source = find_source_cells(pipeline, pairs, clean_grid, (seen.shape[0], seen.shape[1]))
        moved = tuple(seen.flatten()[source].tolist())
        shown = realigned_pairs(pairs, source)
        return CorruptionPredictor(pipeline, moved, clean_grid[1], shown, self.settings).map_query()

    def costs(self, ids: Tensor, answer: Tensor) -> Tensor:
        """Cost (n,) float32 of each of n candidate ids (n,) for a clean token ().

        It is ‖e - e*‖², minus the value of the nearest candidate.
        """
        tokenizer = self.pipeline.grid
        distances = (code_vectors(tokenizer, ids) - code_vectors(tokenizer, answer)).square().sum(dim=1)
        return distances - distances.min()


def masked_cells(grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw the masked cells of a grid: (h, w) bool, True where masked.

    There are three kinds: 30 % of the cells, the lower half, or a box of a quarter to three quarters of
    each side.
    """
    height, width = grid
    choice = int(torch.randint(3, (), generator=generator))
    if choice == 0:
        order = torch.randperm(height * width, generator=generator)
        return (order < max(1, round(MASKED_SHARE * height * width))).view(grid)
    if choice == 1:
        return lower_cells(grid)
    cells = torch.zeros(grid, dtype=torch.bool)
    rows = box_side(height, generator)
    columns = box_side(width, generator)
    cells[rows, columns] = True
    return cells


def box_side(length: int, generator: torch.Generator) -> slice:
    """A stretch of a quarter to three quarters of a side."""
    size = int(torch.randint(max(1, length // 4), max(2, 3 * length // 4 + 1), (), generator=generator))
    start = int(torch.randint(length - size + 1, (), generator=generator))
    return slice(start, start + size)

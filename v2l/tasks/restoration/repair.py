"""damaged image + pairs of other images, clean and damaged alike ──► the restored image: blind, as a user has it.

Nobody knows the clean image. The frozen LLM sees windows of damaged tokens beside the clean ones of other images, and tells the clean
ones of this image. Where a damage moves things, which damaged tokens belong to a window is told from the other images alone.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, without its oracle examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from v2l.corruptions import Corruption
from v2l.errors import V2LError
from v2l.images import centre_crop, resize
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.denoise import Window
from v2l.tasks.restoration.inpaint import filled, whole_at_model_size
from v2l.tasks.restoration.token_prediction import (
    ADAPTER,
    BLIND,
    CellCandidates,
    MaskedWindow,
    RestorationSettings,
    TokenPredictor,
    WindowPrediction,
)
from v2l.tasks.restoration.token_prior import code_vectors, restored, sources
from v2l.tasks.restoration.whole_map import MapQuestion, map_question, tell_map
from v2l.tasks.restoration.windows import View, hidden_windows
from v2l.tokens import ImageTokens

ASKED = 32  # windows that are asked in one call
Progress = Callable[[int, int], None]


class Pair(NamedTuple):
    """One example image as tokens."""

    clean: tuple[int, ...]  # h · w ids
    damaged: tuple[int, ...]  # as many, of the same image damaged


@dataclass(frozen=True)
class Repaired:
    """What comes out.

    Attributes:
        image: (3, H, W) in [0, 1]; sides exchanged where the damage had exchanged them. The decoder's picture; of a damage that moves
            nothing the damaged image itself with what the decoder paints otherwise for the told tokens than for the damaged ones.
        tokens: the tokens that were told, B = 1.
        log: one entry per window.
        choices: cell ──► the tokens that may stand there, by what the examples let expect: the first is the answer without an LLM.
        moved: (h, w) int64, the damaged tokens where their content belongs.
        paint: (1, h, w) token ids ──► their image, as `image` was made.
    """

    image: Tensor
    tokens: ImageTokens
    log: tuple[WindowPrediction, ...]
    choices: CellCandidates
    moved: Tensor
    paint: Callable[[Tensor], Tensor]


def repair(
    pipeline: Pipeline,
    image: Tensor,
    corruption: Corruption,
    examples: Sequence[Tensor],
    settings: RestorationSettings | None = None,
    progress: Progress | None = None,
) -> Repaired:
    """Restore a damaged image.

    Args:
        pipeline: tokenizer and LLM.
        image: (3, H, W) float32 in [0, 1].
        corruption: what the image is thought to have gone through; it damages the examples in the same way, and the LLM is not told.
        examples: clean images (3, H, W) of any size.
        settings: how the LLM is asked; None is what suits it, with or without an adapter.
        progress: told (windows done, windows in all).

    Raises:
        V2LError: there are no examples, more than one candidate is asked for, or the prompt is longer than the LLM's context.
    """
    settings = settings or (ADAPTER if pipeline.adapter else BLIND)
    if not examples:
        raise V2LError(
            "got no example images", "clean photographs to learn the damage from", "--examples FOLDER"
        )
    if settings.candidates > 1:
        raise V2LError(
            f"got {settings.candidates} candidates of a damaged image",
            "1; only what is hidden has more",
            "--set candidates=1",
        )
    damaged = whole_at_model_size(image, pipeline)
    tokens = pipeline.tokenizer.encode(damaged[None], crop=False)
    turned = corruption.damage(torch.zeros(1, *damaged.shape[-2:])).shape[
        -2:
    ]  # of a clean image that would be damaged to this shape
    pairs = [token_pair(pipeline, example, corruption, (turned[0], turned[1])) for example in examples]
    grid = tuple(side // pipeline.tokenizer.factor for side in turned)
    source = came_from(pipeline, pairs, grid, (tokens.local_ids.shape[1], tokens.local_ids.shape[2]))
    moved = tokens.local_ids.flatten().cpu()[source]
    mender = CorruptionPredictor(
        pipeline, tuple(moved.tolist()), grid[1], moved_back(pairs, source), settings
    )
    log = mender.tell(progress)
    size = corruption.damage(torch.zeros(1, *image.shape[-2:])).shape[-2:]

    def paint(ids: Tensor) -> Tensor:
        picture = resize(pipeline.tokenizer.decode(tokens.with_local_ids(ids))[0].cpu(), (size[0], size[1]))
        if source != list(range(len(source))):
            return picture
        return (
            image + picture - resize(pipeline.tokenizer.decode(tokens)[0].cpu(), (size[0], size[1]))
        ).clamp(0, 1)

    told = filled(moved.view(1, *grid), log)
    return Repaired(
        paint(told), tokens.with_local_ids(told), tuple(log), mender.choices, moved.view(grid), paint
    )


def token_pair(pipeline: Pipeline, example: Tensor, corruption: Corruption, size: tuple[int, int]) -> Pair:
    """A clean image (3, H, W), cut to `size` = (height, width) around its centre, and the same image damaged, as tokens."""
    scale = max(side / own for side, own in zip(size, example.shape[-2:], strict=True))
    height, width = (
        max(side, round(own * scale)) for side, own in zip(size, example.shape[-2:], strict=True)
    )
    clean = centre_crop(resize(example, (height, width)), size)
    ids = (
        pipeline.tokenizer.encode_local(some[None].contiguous()).flatten().tolist()
        for some in (clean, corruption.damage(clean))
    )
    return Pair(*(tuple(of_image) for of_image in ids))


def came_from(
    pipeline: Pipeline, pairs: Sequence[Pair], grid: tuple[int, int], damaged: tuple[int, int]
) -> list[int]:
    """For every cell of the clean grid the damaged one to which its content went, told from the pairs; both grids are (h, w)."""
    shapes = ((len(pairs), *grid), (len(pairs), *damaged))
    ids = (
        torch.tensor(of_images).view(shape)
        for of_images, shape in zip(zip(*pairs, strict=True), shapes, strict=True)
    )
    return sources(*(code_vectors(pipeline.tokenizer, of_images) for of_images in ids))


def moved_back(pairs: Sequence[Pair], source: Sequence[int]) -> list[Pair]:
    """The pairs with their damaged tokens where the content belongs."""
    return [Pair(pair.clean, tuple(pair.damaged[cell] for cell in source)) for pair in pairs]


class CorruptionPredictor:
    """The LLM at work on one damaged token grid; its windows do not depend on each other.

    Args:
        pipeline: gives the LLM, the ids that it may use, and how alike two of them are.
        damaged: h · w ids in raster order of the clean grid.
        width: w of the clean grid.
        pairs: example images.
        settings: how the LLM is asked.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        damaged: tuple[int, ...],
        width: int,
        pairs: Sequence[Pair],
        settings: RestorationSettings,
    ) -> None:
        self.pipeline, self.damaged, self.pairs = pipeline, damaged, pairs
        self.view = View(width, settings.n_before, settings.n_predict, settings.above)
        self.windows = hidden_windows([True] * len(damaged), settings.n_predict)
        self.asker = TokenPredictor(pipeline.llm, settings)
        self.likeness = Likeness(pipeline, damaged, [pair.damaged for pair in pairs])
        self.codebook = pipeline.tokenizer.local_codebook.token_ids
        clean, seen, own = (
            torch.tensor(ids).view(-1, len(damaged) // width, width)
            for ids in (*zip(*pairs, strict=True), damaged)
        )
        self.choices = dict(
            enumerate(restored(pipeline.tokenizer, clean, seen, own[0], max(1, settings.num_candidates)))
        )

    def tell(self, progress: Progress | None = None) -> list[WindowPrediction]:
        """Tell every window, many in one batch; or the whole map at once."""
        if self.asker.settings.reading == "map":
            return tell_map(self.pipeline, self.whole(), self.asker.settings)
        log: list[WindowPrediction] = []
        for size in sorted({len(window) for window in self.windows}, reverse=True):
            equal = [window for window in self.windows if len(window) == size]
            for start in range(0, len(equal), ASKED):
                log += self.asker.ask(
                    [self.question(window) for window in equal[start : start + ASKED]], len(log)
                )
                if progress:
                    progress(len(log), len(self.windows))
        return log

    def whole(self) -> MapQuestion:
        """All cells at once."""
        return map_question(self.pipeline, self.damaged, self.view.width, self.choices, self.asker.settings)

    def question(self, window: list[int]) -> MaskedWindow:
        """One window: its own damaged tokens and those before them, after examples that were damaged most alike."""
        settings, everywhere = self.asker.settings, [True] * len(self.damaged)

        def shown(ids: Sequence[int], cells: Sequence[int]) -> tuple[int, ...]:
            return tuple(ids[cell] for cell in [*self.view.cells(everywhere, cells), *cells])

        examples = []
        for number, start in reversed(
            self.likeness.nearest(window, settings.n_examples * settings.draws)
        ):  # the most alike comes last
            cells = range(start, start + len(window))
            pair = self.pairs[number]
            examples.append(Window(shown(pair.damaged, cells), tuple(pair.clean[cell] for cell in cells)))
        draws = [examples[draw :: settings.draws] for draw in range(settings.draws)]
        allowed = tuple(settings.allowed(self.choices[cell], self.codebook) for cell in window)
        return MaskedWindow(tuple(window), shown(self.damaged, window), allowed, settings.deal(draws))


class Likeness:
    """How alike stretches of damaged images are, by the codebook's entries of their tokens.

    Args:
        pipeline: gives the entries.
        damaged: h · w ids of the image to be restored.
        others: as many ids of each example image.
    """

    def __init__(self, pipeline: Pipeline, damaged: Sequence[int], others: Sequence[Sequence[int]]) -> None:
        entries = code_vectors(pipeline.tokenizer, torch.tensor([damaged, *others]))  # (1 + images, h · w, d)
        self.own, self.others = entries[0], entries[1:]

    def nearest(self, window: Sequence[int], count: int) -> list[tuple[int, int]]:
        """The most alike stretches of any example image at any place: (image, first cell), the most alike first.

        Args:
            window: neighbouring cells of the image to be restored.
            count: how many; fewer when there are fewer.
        """
        length = len(window)
        wanted = self.own[window[0] : window[0] + length]  # (m, d)
        stretches = self.others.unfold(1, length, 1).movedim(-1, 2)  # (images, starts, m, d)
        distances = (stretches - wanted).square().sum(dim=(2, 3)).flatten()
        nearest = distances.sort(stable=True).indices[:count].tolist()
        return [divmod(place, stretches.shape[1]) for place in nearest]

"""tokens of a clean image and of a damaged one ──► the tokens that the frozen LLM restores: the paper's protocol, for evaluation only.

The examples are noisy copies of the clean image's own tokens (`supports.py`), so the clean image must be known. Restoring what is hidden
builds on the tokens told before; restoring what is damaged asks for every window by itself, in batches.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3; the official code for the two readings of a damaged window (`n_before`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from v2l.llm import Context
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.denoise import Window
from v2l.tasks.restoration.noisy_copies import RATES, Support, noisy_copies
from v2l.tasks.restoration.token_prediction import (
    MaskedWindow,
    RestorationSettings,
    TokenPredictor,
    WindowPrediction,
)
from v2l.tasks.restoration.windows import View, centre_out, hidden_windows

AT_ONCE = 8  # windows whose examples are read in one pass
ASKED = 32  # windows that are asked in one call
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Damage:
    """One image to be restored, as tokens.

    Attributes:
        clean: (h, w) int64 ids of the clean image.
        damaged: (h, w) int64 ids of the damaged one; the clean ones where cells are hidden.
        hidden: (h, w) bool, the cells to tell.
        sequential: True where cells are hidden and what is told becomes context; False where all cells are there, and damaged.
    """

    clean: Tensor
    damaged: Tensor
    hidden: Tensor
    sequential: bool


@dataclass(frozen=True)
class Denoised:
    """What the LLM made of it.

    Attributes:
        ids: (h, w) int64: told where told, the damaged image's elsewhere.
        log: one entry per window.
        supports: the noisy copies of all draws, on which a vote needs no LLM.
    """

    ids: Tensor
    log: tuple[WindowPrediction, ...]
    supports: tuple[Support, ...]


def denoise(
    pipeline: Pipeline,
    damage: Damage,
    settings: RestorationSettings,
    limit: int | None = None,
    official: bool = False,
    progress: Progress | None = None,
) -> Denoised:
    """Restore the tokens of one image by the paper's protocol.

    Args:
        pipeline: gives the LLM and the ids that it may use.
        damage: the image.
        settings: how the LLM is asked; of the ten copies the `n_examples` cleanest are shown; a num_candidates, of whatever size, lets it choose
            among the ids that stand anywhere in these copies, right and wrong ones, 0 among the whole codebook.
        limit: at most so many windows: the first ones where they build on each other, else drawn by the seed.
        official: noise as the official code sizes it, drawn from the LLM's whole vocabulary.
        progress: told (windows done, windows in all).

    Raises:
        V2LError: the prompt is longer than the LLM's context.
    """
    codebook = pipeline.tokenizer.local_codebook.token_ids
    codes = torch.arange(pipeline.llm.vocabulary_size) if official else codebook
    generator = torch.Generator().manual_seed(settings.seed)
    cleanest = slice(max(0, len(RATES) - settings.n_examples), None)
    draws = [
        noisy_copies(damage.clean, damage.damaged, codes, generator, official)[cleanest]
        for _ in range(settings.draws)
    ]
    words = frozenset(codebook.tolist())
    restorer = OraclePredictor(
        TokenPredictor(pipeline.llm, settings),
        damage,
        draws,
        words & shown_ids(draws) if settings.num_candidates else words,
    )
    steps = restorer.hidden_ones if damage.sequential else restorer.damaged_ones
    windows = chosen_windows(damage, settings, limit)
    log: list[WindowPrediction] = []
    for told in steps(windows):
        log.append(told)
        if progress:
            progress(len(log), len(windows))
    return Denoised(
        torch.tensor(restorer.ids).view(damage.clean.shape),
        tuple(log),
        tuple(copy for draw in draws for copy in draw),
    )


def shown_ids(draws: Sequence[Sequence[Support]]) -> set[int]:
    """Every id that stands anywhere in the copies."""
    return {token_id for draw in draws for copy in draw for token_id in copy.clean}


def chosen_windows(damage: Damage, settings: RestorationSettings, limit: int | None) -> list[list[int]]:
    """The windows to tell, in order."""
    windows = hidden_windows(damage.hidden.flatten().tolist(), settings.n_predict)
    if settings.order == "centre-out":
        windows = centre_out(windows, (damage.hidden.shape[0], damage.hidden.shape[1]))
    if limit is None or limit >= len(windows):
        return windows
    if damage.sequential:
        return windows[:limit]
    return [windows[place] for place in sorted(Random(settings.seed).sample(range(len(windows)), limit))]


class OraclePredictor:
    """Asks for the windows of one image.

    Args:
        asker: asks the LLM.
        damage: the image.
        draws: noisy copies, for each draw.
        allowed: the ids that may be told.
    """

    def __init__(
        self,
        asker: TokenPredictor,
        damage: Damage,
        draws: Sequence[Sequence[Support]],
        allowed: Collection[int],
    ) -> None:
        settings = asker.settings
        self.asker, self.draws, self.allowed = asker, draws, torch.tensor(sorted(allowed))
        self.ids, self.damaged = damage.damaged.flatten().tolist(), damage.damaged.flatten().tolist()
        self.known = (~damage.hidden).flatten().tolist()
        n_context = settings.n_context if damage.sequential else settings.n_before
        self.view = View(damage.clean.shape[1], n_context, settings.n_predict, settings.above)

    def damaged_ones(self, windows: Sequence[list[int]]) -> Iterator[WindowPrediction]:
        """Windows that do not depend on each other: shown are the damaged tokens before them and their own."""
        everywhere = [True] * len(self.ids)
        for size in sorted({len(window) for window in windows}, reverse=True):
            questions = []
            for window in (window for window in windows if len(window) == size):
                cells = [*self.view.cells(everywhere, window), *window]
                given = tuple(self.damaged[cell] for cell in cells)
                examples = self._examples(
                    window, lambda support, cells=cells: tuple(support.damaged[cell] for cell in cells)
                )
                questions.append(MaskedWindow(tuple(window), given, (self.allowed,) * size, examples))
            for start in range(0, len(questions), ASKED):
                for told in self.asker.ask(questions[start : start + ASKED], start):
                    yield self._keep(told)

    def hidden_ones(self, windows: Sequence[list[int]]) -> Iterator[WindowPrediction]:
        """Windows that build on each other: shown are the tokens before them, those told by now among them."""
        views = []
        for window in windows:
            views.append(self.view.cells(self.known, window))
            for cell in window:
                self.known[cell] = True
        contexts = self._contexts(windows, views)
        for number, (window, cells) in enumerate(zip(windows, views, strict=True)):
            question = MaskedWindow(
                tuple(window), tuple(self.ids[cell] for cell in cells), (self.allowed,) * len(window)
            )
            (told,) = self.asker.ask([question], number, next(contexts))
            yield self._keep(told)

    def _contexts(self, windows: Sequence[list[int]], views: Sequence[list[int]]) -> Iterator[list[Context]]:
        """The examples of every window, read some windows at a time: they do not wait for what is told."""
        for start in range(0, len(windows), AT_ONCE):
            some = [
                self._examples(
                    window, lambda support, cells=cells: tuple(support.clean[cell] for cell in cells)
                )
                for window, cells in zip(
                    windows[start : start + AT_ONCE], views[start : start + AT_ONCE], strict=True
                )
            ]
            yield from self.asker.read_each(some)

    def _examples(
        self, window: list[int], given: Callable[[Support], tuple[int, ...]]
    ) -> tuple[tuple[Window, ...], ...]:
        drawn = [
            [Window(given(copy), tuple(copy.clean[cell] for cell in window)) for copy in draw]
            for draw in self.draws
        ]
        return self.asker.settings.deal(drawn)

    def _keep(self, told: WindowPrediction) -> WindowPrediction:
        for cell, token_id in zip(told.cells, told.ids, strict=True):
            self.ids[cell] = token_id
        return told

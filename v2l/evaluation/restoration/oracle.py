"""tokens of a clean and a corrupted image ──► the frozen LLM's predictions: protocol `paper`.

The examples are noisy copies of the clean image's own tokens (`noisy_copies.py`), so the clean image must be
known, and the protocol is for evaluation only. Masked windows depend on the predictions before them;
corrupted windows are independent and run in batches. Source: V2L Tokenizer, arXiv 2403.07874, section 4.3;
the official code for its reading of a corrupted window (`n_before` = 0).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from v2l.evaluation.restoration.noisy_copies import RATES, NoisyCopy, noisy_copies
from v2l.llm import CachedPrefix
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress
from v2l.prompts.denoise import Window
from v2l.tasks.restoration.settings import RestorationSettings
from v2l.tasks.restoration.token_prediction import (
    MaskedWindow,
    TokenPredictor,
    WindowPrediction,
    split_examples,
)
from v2l.tasks.restoration.windows import WindowContext, centre_out, hidden_windows

WINDOWS_PER_READ = 8  # masked windows whose examples are read in one pass
WINDOWS_PER_CALL = 32  # corrupted windows that are predicted in one call


@dataclass(frozen=True)
class CorruptedTokens:
    """An image to restore, as tokens.

    Attributes:
        clean: (h, w) int64 ids of the clean image.
        corrupted: (h, w) int64 ids of the corrupted one; the clean ones where cells are masked.
        hidden: (h, w) bool, the cells to predict.
        sequential: True where cells are masked, so that predictions become context; False where all cells are
            corrupted.
    """

    clean: Tensor
    corrupted: Tensor
    hidden: Tensor
    sequential: bool


@dataclass(frozen=True)
class Denoised:
    """A restored token grid.

    Attributes:
        ids: (h, w) int64: predictions where predicted, the corrupted image's ids elsewhere.
        log: one entry for each window.
        copies: the noisy copies of all draws, over which a vote needs no LLM.
    """

    ids: Tensor
    log: tuple[WindowPrediction, ...]
    copies: tuple[NoisyCopy, ...]


def denoise(
    pipeline: Pipeline,
    image: CorruptedTokens,
    settings: RestorationSettings,
    limit: int | None = None,
    official: bool = False,
    progress: Progress | None = None,
) -> Denoised:
    """Restore the tokens of one image by the paper's protocol.

    Args:
        pipeline: gives the LLM and the ids of the local codebook.
        image: its tokens.
        settings: how the LLM is prompted. Of the ten copies the `n_examples` cleanest are shown. A
            `num_candidates` above 0 allows the ids that occur anywhere in these copies; 0 allows the whole
            codebook.
        limit: at most so many windows: the first ones where they depend on each other, else a random choice
            by the seed.
        official: noise as the official code makes it, drawn from the LLM's whole vocabulary.
        progress: called as ("windows", windows done, all windows).

    Raises:
        V2LError: a prompt is longer than the LLM's context.
    """
    codebook = pipeline.grid.local_codebook.token_ids
    codes = torch.arange(pipeline.llm.vocabulary_size) if official else codebook
    generator = torch.Generator().manual_seed(settings.seed)
    cleanest = slice(max(0, len(RATES) - settings.n_examples), None)
    draws = [
        noisy_copies(image.clean, image.corrupted, codes, generator, official)[cleanest]
        for _ in range(settings.draws)
    ]
    codebook_ids = frozenset(codebook.tolist())
    allowed = codebook_ids & shown_ids(draws) if settings.num_candidates else codebook_ids
    predictor = OraclePredictor(TokenPredictor(pipeline.llm, settings), image, draws, allowed)
    windows = chosen_windows(image, settings, limit)
    log: list[WindowPrediction] = []
    for prediction in predictor.predict(windows):
        log.append(prediction)
        if progress:
            progress("windows", len(log), len(windows))
    return Denoised(
        torch.tensor(predictor.ids).view(image.clean.shape),
        tuple(log),
        tuple(copy for draw in draws for copy in draw),
    )


def shown_ids(draws: Sequence[Sequence[NoisyCopy]]) -> set[int]:
    """Every id that occurs anywhere in the copies."""
    return {token_id for draw in draws for copy in draw for token_id in copy.clean}


def chosen_windows(
    image: CorruptedTokens, settings: RestorationSettings, limit: int | None
) -> list[list[int]]:
    """The windows to predict, in order."""
    windows = hidden_windows(image.hidden.flatten().tolist(), settings.n_predict)
    if settings.order == "centre-out":
        windows = centre_out(windows, (image.hidden.shape[0], image.hidden.shape[1]))
    if limit is None or limit >= len(windows):
        return windows
    if image.sequential:
        return windows[:limit]
    return [windows[place] for place in sorted(Random(settings.seed).sample(range(len(windows)), limit))]


class OraclePredictor:
    """Predicts windows of one image whose clean tokens are known.

    Args:
        predictor: prompts the LLM.
        image: its tokens.
        draws: the noisy copies of each draw.
        allowed: the ids that may be predicted.
    """

    def __init__(
        self,
        predictor: TokenPredictor,
        image: CorruptedTokens,
        draws: Sequence[Sequence[NoisyCopy]],
        allowed: Collection[int],
    ) -> None:
        settings = predictor.settings
        self.predictor, self.draws, self.allowed = predictor, draws, torch.tensor(sorted(allowed))
        self.sequential = image.sequential
        self.ids: list[int] = image.corrupted.flatten().tolist()
        self.corrupted: list[int] = image.corrupted.flatten().tolist()
        self.known: list[bool] = (~image.hidden).flatten().tolist()
        n_context = settings.n_context if image.sequential else settings.n_before
        self.context = WindowContext(image.clean.shape[1], n_context, settings.n_predict, settings.n_above)

    def predict(self, windows: Sequence[list[int]]) -> Iterator[WindowPrediction]:
        """Predict windows in order; each prediction is written into `ids`."""
        for prediction in self._masked(windows) if self.sequential else self._corrupted(windows):
            for cell, token_id in zip(prediction.cells, prediction.ids, strict=True):
                self.ids[cell] = token_id
            yield prediction

    def _corrupted(self, windows: Sequence[list[int]]) -> Iterator[WindowPrediction]:
        """Independent windows: a query shows the corrupted tokens before the window, and its own."""
        everywhere = [True] * len(self.ids)
        # A batch has windows of one length; the last window of the grid can be shorter.
        for size in sorted({len(window) for window in windows}, reverse=True):
            queries = []
            for window in [window for window in windows if len(window) == size]:
                cells = [*self.context.cells(everywhere, window), *window]
                given = tuple(self.corrupted[cell] for cell in cells)
                examples = self._examples(window, cells)
                queries.append(MaskedWindow(tuple(window), given, (self.allowed,) * size, examples))
            for start in range(0, len(queries), WINDOWS_PER_CALL):
                yield from self.predictor.predict(queries[start : start + WINDOWS_PER_CALL], start)

    def _masked(self, windows: Sequence[list[int]]) -> Iterator[WindowPrediction]:
        """Sequential windows: each prompt contains the preceding tokens, those already predicted included."""
        # Which cells a prompt shows does not depend on the predictions in them, so it is known beforehand.
        cells_shown = []
        for window in windows:
            cells_shown.append(self.context.cells(self.known, window))
            for cell in window:
                self.known[cell] = True
        contexts = self._contexts(windows, cells_shown)
        for number, (window, cells) in enumerate(zip(windows, cells_shown, strict=True)):
            given = tuple(self.ids[cell] for cell in cells)
            query = MaskedWindow(tuple(window), given, (self.allowed,) * len(window))
            yield from self.predictor.predict([query], number, next(contexts))

    def _contexts(
        self, windows: Sequence[list[int]], cells_shown: Sequence[list[int]]
    ) -> Iterator[list[CachedPrefix]]:
        """The examples of every window, read for several windows at a time, before any prediction."""
        for start in range(0, len(windows), WINDOWS_PER_READ):
            part = slice(start, start + WINDOWS_PER_READ)
            examples = [
                self._examples(window, cells)
                for window, cells in zip(windows[part], cells_shown[part], strict=True)
            ]
            yield from self.predictor.read_examples_of_each(examples)

    def _examples(self, window: Sequence[int], cells: Sequence[int]) -> tuple[tuple[Window, ...], ...]:
        """One example from each noisy copy: its tokens in the cells that a query shows, and in the window."""
        draws = []
        for draw in self.draws:
            examples = []
            for copy in draw:
                shown = copy.clean if self.sequential else copy.corrupted
                given = tuple(shown[cell] for cell in cells)
                examples.append(Window(given, tuple(copy.clean[cell] for cell in window)))
            draws.append(examples)
        return split_examples(draws, self.predictor.settings)

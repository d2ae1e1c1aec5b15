"""image + mask ──► image: the frozen LLM tells the tokens under the mask from those around it.

Blind: masked pixels are mid-grey before anything looks at the image, examples come from its visible part or from other images, and every
predicted token is one of the LLM's own. Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, without its oracle examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from v2l.errors import V2LError
from v2l.images import LONGEST_SHAPE, check_mask, resize
from v2l.llm import Context, Weighted
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.blending import seamless
from v2l.tasks.restoration.token_prediction import (
    ADAPTER,
    BLIND,
    CellCandidates,
    MaskedWindow,
    RestorationSettings,
    TokenPredictor,
    WindowPrediction,
)
from v2l.tasks.restoration.token_prior import expected
from v2l.tasks.restoration.whole_map import MapQuestion, map_question, tell_map
from v2l.tasks.restoration.windows import (
    TokenMap,
    View,
    centre_out,
    hidden_cells,
    hidden_windows,
    visible_examples,
)
from v2l.tokens import ImageTokens

MID_GREY = 0.5
REACH = 2  # pixels around each, at the smaller size, of a bicubic resize
LEAST_SIDE = 16  # pixels: a window of two tokens at the tokenizer's own scale
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Inpainted:
    """What comes out.

    Attributes:
        image: (3, H, W) in [0, 1]: the image itself outside the mask, bit by bit, and the decoder's picture inside, without a seam.
        tokens: the tokens that were decoded, B = 1.
        hidden: (h, w) bool, the cells that the LLM told.
        log: one entry per window, in the order told.
        choices: cell ──► the tokens that its surroundings let expect, the most alike first: the first is the answer without an LLM.
        candidates: log-likelihood of every candidate; the likeliest is what came out.
        paint: (1, h, w) token ids ──► their image, as `image` was made.
    """

    image: Tensor
    tokens: ImageTokens
    hidden: Tensor
    log: tuple[WindowPrediction, ...]
    choices: CellCandidates
    candidates: tuple[float, ...]
    paint: Callable[[Tensor], Tensor]


def inpaint(
    pipeline: Pipeline,
    image: Tensor,
    mask: Tensor,
    settings: RestorationSettings | None = None,
    progress: Progress | None = None,
    examples: Sequence[Tensor] = (),
) -> Inpainted:
    """Paint what a mask hides.

    Args:
        pipeline: tokenizer and LLM.
        image: (3, H, W) float32 in [0, 1]; the pixels under the mask are never used.
        mask: (H, W) bool, True where to paint.
        settings: how the LLM is asked; None is what suits it, with or without an adapter.
        progress: told (windows done, windows in all) after each window.
        examples: other images (3, H, W), which may serve as examples beside the visible part.

    Raises:
        V2LError: the mask does not fit, is empty or full, or touches every token; the image is smaller than one window; or the prompt is
            longer than the LLM's context.
    """
    settings = settings or (ADAPTER if pipeline.adapter else BLIND)
    check_mask(mask, tuple(image.shape[-2:]))
    grey = torch.where(mask, MID_GREY, image)
    small = whole_at_model_size(grey, pipeline)
    tokens = pipeline.tokenizer.encode(small[None], crop=False)
    ids, hidden = tokens.local_ids[0].cpu(), hidden_cells(mask, tuple(tokens.local_ids.shape[-2:]))
    if hidden.all():
        raise V2LError(
            f"got a mask that touches all {hidden.numel()} tokens of the image",
            "a mask that leaves some whole",
            "a smaller mask",
        )
    choices = cell_candidates(pipeline, ids, hidden, settings)
    logs = InpaintingPredictor(
        pipeline, ids, hidden, settings, choices, [token_map(example, pipeline) for example in examples]
    ).tell(progress)
    best, hole = likeliest(logs), hole_at_size(mask, (small.shape[-2], small.shape[-1]))

    def paint(local_ids: Tensor) -> Tensor:
        picture = pipeline.tokenizer.decode(tokens.with_local_ids(local_ids))[0].cpu()
        return torch.where(
            mask, resize(seamless(small, picture, hole), (image.shape[-2], image.shape[-1])), image
        )

    told = filled(tokens.local_ids.cpu(), best)
    return Inpainted(
        paint(told),
        tokens.with_local_ids(told),
        hidden,
        tuple(best),
        choices,
        tuple(map(likelihood, logs)),
        paint,
    )


def hole_at_size(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixels that a mask (H, W) reaches at another size (h, w), by a resize that looks some pixels around: (h, w) bool."""
    if tuple(mask.shape) == size:
        return mask
    return max_pool2d(hidden_cells(mask, size)[None].float(), 2 * REACH + 1, stride=1, padding=REACH)[0] > 0


def cell_candidates(
    pipeline: Pipeline, ids: Tensor, hidden: Tensor, settings: RestorationSettings
) -> CellCandidates:
    """What may stand in every hidden cell; (h, w) each, of ids and hidden."""
    cells = hidden.flatten().nonzero().flatten().tolist()
    return dict(
        zip(cells, expected(pipeline.tokenizer, ids, hidden, settings.num_candidates or 1), strict=True)
    )


def likelihood(log: Sequence[WindowPrediction]) -> float:
    """Log-likelihood of all that was told of one candidate."""
    return sum(told.loglikelihood for told in log)


def likeliest(logs: Sequence[list[WindowPrediction]]) -> list[WindowPrediction]:
    """The log of the candidate that the LLM finds likeliest."""
    return max(logs, key=likelihood)


def filled(ids: Tensor, log: Sequence[WindowPrediction]) -> Tensor:
    """The ids (1, h, w) with what was told in its places."""
    flat = ids.flatten().clone()
    for told in log:
        flat[list(told.cells)] = torch.tensor(told.ids)
    return flat.view(ids.shape)


def whole_at_model_size(image: Tensor, pipeline: Pipeline) -> Tensor:
    """The whole image, not cropped, its shorter side at the model's size and both sides multiples of f.

    Args:
        image: (3, H, W) in [0, 1].
        pipeline: gives the model's size and f.

    Raises:
        V2LError: the image is smaller than one window.
    """
    size, factor = pipeline.tokenizer.config.model.image_size, pipeline.tokenizer.factor
    shorter = min(image.shape[-2:])
    if shorter < LEAST_SIDE:
        raise V2LError(
            f"got an image of {image.shape[-1]} × {image.shape[-2]} pixels",
            f"{LEAST_SIDE} and more a side",
            "a larger image",
        )
    height, width = (
        max(factor, min(round(side * size / shorter / factor), LONGEST_SHAPE * size // factor) * factor)
        for side in image.shape[-2:]
    )
    return resize(image, (height, width))


def token_map(image: Tensor, pipeline: Pipeline) -> TokenMap:
    """All local tokens of a whole image (3, H, W)."""
    ids = pipeline.tokenizer.encode_local(whole_at_model_size(image, pipeline)[None])[0]
    return TokenMap(ids.flatten().tolist(), [False] * ids.numel(), ids.shape[1])


class InpaintingPredictor:
    """The LLM at work on one token grid: window after window, what is told becomes context.

    Candidates are told side by side: they share all that is visible, and each builds on its own tokens.

    Args:
        pipeline: gives the LLM and the ids that it may use.
        ids: (h, w) int64 token ids; the hidden ones are never read.
        hidden: (h, w) bool.
        settings: how the LLM is asked.
        choices: of every hidden cell the ids that may be told; a num_candidates of 0 allows all.
        others: tokens of other images, for examples.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        ids: Tensor,
        hidden: Tensor,
        settings: RestorationSettings,
        choices: CellCandidates,
        others: Sequence[TokenMap] = (),
    ) -> None:
        own = TokenMap(ids.flatten().tolist(), hidden.flatten().tolist(), hidden.shape[1])
        self.pipeline = pipeline
        self.rows = [list(own.ids) for _ in range(settings.candidates)]
        self.settings, self.choices = settings, choices
        self.known = (~hidden).flatten().tolist()
        self.view = View(own.width, settings.n_context, settings.n_predict, settings.above)
        windows = hidden_windows(own.hidden, settings.n_predict)
        self.windows = (
            centre_out(windows, (hidden.shape[0], hidden.shape[1]))
            if settings.order == "centre-out"
            else windows
        )
        self.codebook = pipeline.tokenizer.local_codebook.token_ids
        random = Random(settings.seed)
        drawn = [
            visible_examples([own, *others], self.view, settings.n_examples, random)
            for _ in range(settings.draws)
        ]
        self.examples = settings.deal(drawn)
        self.asker = TokenPredictor(pipeline.llm, settings)

    def tell(self, progress: Progress | None = None) -> list[list[WindowPrediction]]:
        """Tell every window of every candidate; the examples are read once. Returns the candidates' logs."""
        if self.settings.reading == "map":
            return [
                tell_map(self.pipeline, self.whole(), self.settings, number)
                for number in range(self.settings.candidates)
            ]
        shared = self.asker.read(self.examples)
        steps = []
        for number, window in enumerate(self.windows):
            steps.append(self.tell_window(number, window, shared))
            if progress:
                progress(number + 1, len(self.windows))
        return [list(log) for log in zip(*steps, strict=True)]

    def whole(self) -> MapQuestion:
        """All hidden cells at once."""
        seen = [None if cell in self.choices else token_id for cell, token_id in enumerate(self.rows[0])]
        return map_question(self.pipeline, seen, self.view.width, self.choices, self.settings)

    def tell_window(self, number: int, window: list[int], shared: list[Context]) -> list[WindowPrediction]:
        """Predict the tokens of one window, once for each candidate, and keep them."""
        questions = [self.question(window, row) for row in self.rows]
        answers = self.asker.ask(questions, number * len(questions), shared)
        for row, told in zip(self.rows, answers, strict=True):
            self.keep(window, told.ids, row)
        return answers

    def question(self, window: Sequence[int], row: Sequence[int]) -> MaskedWindow:
        """One window of one candidate, by what is known now."""
        return MaskedWindow(
            tuple(window),
            tuple(row[cell] for cell in self.view.cells(self.known, window)),
            self.allowed(window),
        )

    def keep(self, window: Sequence[int], ids: Sequence[int], row: list[int]) -> None:
        """Put what was told of a window into one candidate; it is known from now on."""
        for cell, token_id in zip(window, ids, strict=True):
            row[cell] = token_id
            self.known[cell] = True

    def allowed(self, window: Sequence[int]) -> tuple[Weighted, ...]:
        """The tokens that may stand at each cell."""
        return tuple(self.settings.allowed(self.choices[cell], self.codebook) for cell in window)

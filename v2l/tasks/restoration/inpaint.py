"""image + mask ──► image: the frozen LLM predicts the tokens under the mask from the visible tokens.

Inpainting is blind. Masked pixels are replaced by mid-grey before anything reads the image, and examples come
from its visible part or from other images. Every predicted token is one of the LLM's own.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, without its oracle examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from v2l.errors import V2LError
from v2l.images import LONGEST_SHAPE, resize
from v2l.llm import CachedPrefix, WeightedIds
from v2l.masks import check_mask
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress
from v2l.tasks.restoration.blending import seamless
from v2l.tasks.restoration.settings import RestorationSettings, settings_or_default
from v2l.tasks.restoration.token_prediction import (
    MaskedWindow,
    TokenPredictor,
    WindowPrediction,
    allowed_tokens,
    split_examples,
)
from v2l.tasks.restoration.token_prior import CellCandidates, masked_cell_candidates
from v2l.tasks.restoration.whole_map import MapQuery, map_query, predict_map
from v2l.tasks.restoration.windows import (
    TokenMap,
    WindowContext,
    centre_out,
    hidden_cells,
    hidden_windows,
    visible_examples,
)
from v2l.tokens import ImageTokens

MID_GREY = 0.5
RESIZE_RADIUS = 2  # pixels on each side, at the smaller size, that a bicubic resize reads
LEAST_SIDE = 16  # pixels: a window of two tokens at the tokenizer's own scale


@dataclass(frozen=True)
class Inpainted:
    """An inpainted image.

    Attributes:
        image: (3, H, W) in [0, 1]: the given pixels, bit by bit, where visible; the decoded tokens, blended,
            where masked.
        tokens: the decoded tokens, B = 1.
        hidden: (h, w) bool, the cells that the LLM predicted.
        log: one entry for each window, in the order of prediction.
        candidates: cell ──► its candidate tokens. The first of them is the prediction without an LLM.
        sample_loglikelihoods: one for each sampled answer; the answer with the largest is in `tokens`.
        decode: (1, h, w) token ids ──► their image, (3, H, W), made as `image` was.
    """

    image: Tensor
    tokens: ImageTokens
    hidden: Tensor
    log: tuple[WindowPrediction, ...]
    candidates: CellCandidates
    sample_loglikelihoods: tuple[float, ...]
    decode: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class MaskedPhotograph:
    """A photograph with a hole, at the size of the model. Nothing in it depends on masked pixels.

    Attributes:
        grey: (3, H', W') in [0, 1], masked pixels in mid-grey.
        tokens: of `grey`, B = 1.
        hidden: (h, w) bool, the cells that the mask touches; some are visible.
        decode: (1, h, w) token ids ──► the photograph (3, H, W) with their pixels in the hole.
    """

    grey: Tensor
    tokens: ImageTokens
    hidden: Tensor
    decode: Callable[[Tensor], Tensor]

    @property
    def ids(self) -> Tensor:
        """(h, w) int64 token ids on the CPU; those of hidden cells mean nothing."""
        return self.tokens.local_ids[0].cpu()


def mask_photograph(pipeline: Pipeline, image: Tensor, mask: Tensor) -> MaskedPhotograph:
    """Mask a photograph (3, H, W) by (H, W) bool, and encode it.

    Raises:
        V2LError: as `inpaint`.
    """
    check_mask(mask, (image.shape[-2], image.shape[-1]))
    grey = whole_at_model_size(torch.where(mask, MID_GREY, image), pipeline)  # (3, H', W')
    tokens = pipeline.grid.encode(grey[None], crop=False)
    hidden = hidden_cells(mask, (tokens.local_ids.shape[1], tokens.local_ids.shape[2]))
    check_some_visible(hidden)
    hole = resized_mask(mask, (grey.shape[-2], grey.shape[-1]))

    def decode(local_ids: Tensor) -> Tensor:
        decoded = pipeline.grid.decode(tokens.with_local_ids(local_ids))[0].cpu()
        blended = resize(seamless(grey, decoded, hole), (image.shape[-2], image.shape[-1]))
        return torch.where(mask, blended, image)

    return MaskedPhotograph(grey, tokens, hidden, decode)


def inpaint(
    pipeline: Pipeline,
    image: Tensor,
    mask: Tensor,
    settings: RestorationSettings | None = None,
    progress: Progress | None = None,
    examples: Sequence[Tensor] = (),
) -> Inpainted:
    """Fill the masked part of an image.

    Args:
        pipeline: tokenizer and LLM.
        image: (3, H, W) float32 in [0, 1]; masked pixels are never used.
        mask: (H, W) bool, True where to fill.
        settings: how the LLM is prompted; None takes the preset for an LLM with or without an adapter.
        progress: called as ("windows", windows done, all windows) after each window.
        examples: other images (3, H, W), a source of examples besides the visible part.

    Raises:
        V2LError: the mask has another size, is empty or full, or touches every token; the image is smaller
            than one window;
            or a prompt is longer than the LLM's context.
    """
    settings = settings_or_default(settings, pipeline)
    photograph = mask_photograph(pipeline, image, mask)
    ids, hidden = photograph.ids, photograph.hidden
    candidates = cell_candidates(pipeline, ids, hidden, settings)
    maps = [token_map(example, pipeline) for example in examples]
    samples = InpaintingPredictor(pipeline, ids, hidden, settings, candidates, maps).predict(progress)
    best = max(samples, key=loglikelihood)
    filled = filled_ids(ids[None], best)
    return Inpainted(
        photograph.decode(filled),
        photograph.tokens.with_local_ids(filled),
        hidden,
        tuple(best),
        candidates,
        tuple(loglikelihood(sample) for sample in samples),
        photograph.decode,
    )


def check_some_visible(hidden: Tensor) -> None:
    """Refuse a grid (h, w) bool without a visible cell.

    Raises:
        V2LError: all cells are hidden.
    """
    if hidden.all():
        got = f"got a mask that touches all {hidden.numel()} tokens of the image"
        raise V2LError(got, "a mask that leaves some whole", "a smaller mask")


def resized_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixels of a resized image that depend on masked pixels.

    A bicubic resize reads pixels around each one, so the mask grows by `RESIZE_RADIUS`.

    Args:
        mask: (H, W) bool.
        size: (H', W') of the resized image.

    Returns:
        (H', W') bool; the mask itself when the size is its own.
    """
    if tuple(mask.shape) == size:
        return mask
    touched = hidden_cells(mask, size)[None].float()  # (1, H', W')
    grown = max_pool2d(touched, 2 * RESIZE_RADIUS + 1, stride=1, padding=RESIZE_RADIUS)
    return grown[0] > 0


def cell_candidates(
    pipeline: Pipeline, ids: Tensor, hidden: Tensor, settings: RestorationSettings
) -> CellCandidates:
    """Candidate tokens of every hidden cell, one at least; `ids` and `hidden` are (h, w)."""
    cells = hidden.flatten().nonzero().flatten().tolist()
    candidates = masked_cell_candidates(pipeline.grid, ids, hidden, settings.num_candidates or 1)
    return dict(zip(cells, candidates, strict=True))


def loglikelihood(log: Sequence[WindowPrediction]) -> float:
    """Log-likelihood of all predictions of one answer: the sum over its windows."""
    return sum(window.loglikelihood for window in log)


def filled_ids(ids: Tensor, log: Sequence[WindowPrediction]) -> Tensor:
    """The ids (1, h, w) with the predictions in their cells."""
    flat = ids.flatten().clone()
    for window in log:
        flat[list(window.cells)] = torch.tensor(window.ids)
    return flat.view(ids.shape)


def whole_at_model_size(image: Tensor, pipeline: Pipeline) -> Tensor:
    """Resize the whole image, without a crop, to the size of the model.

    The shorter side gets the model's size, and both sides are multiples of the patch size f.

    Args:
        image: (3, H, W) in [0, 1].
        pipeline: gives the model's size and f.

    Raises:
        V2LError: the image is smaller than one window.
    """
    size, factor = pipeline.grid.config.model.image_size, pipeline.grid.factor
    shorter = min(image.shape[-2:])
    if shorter < LEAST_SIDE:
        got = f"got an image of {image.shape[-1]} × {image.shape[-2]} pixels"
        raise V2LError(got, f"{LEAST_SIDE} and more a side", "a larger image")
    longest = LONGEST_SHAPE * size // factor  # patches
    height, width = (
        max(factor, min(round(side * size / shorter / factor), longest) * factor) for side in image.shape[-2:]
    )
    return resize(image, (height, width))


def token_map(image: Tensor, pipeline: Pipeline) -> TokenMap:
    """All local tokens of a whole image (3, H, W)."""
    ids = pipeline.grid.encode_local(whole_at_model_size(image, pipeline)[None])[0]
    return TokenMap(ids.flatten().tolist(), [False] * ids.numel(), ids.shape[1])


class InpaintingPredictor:
    """Predicts the masked tokens of one grid autoregressively; each predicted window is context for the next.

    Several answers can be sampled side by side. They share the visible tokens, and each continues its own
    predictions.

    Args:
        pipeline: gives the LLM and the ids of the local codebook.
        ids: (h, w) int64 token ids; hidden ones are never read.
        hidden: (h, w) bool.
        settings: how the LLM is prompted.
        candidates: of every hidden cell.
        others: tokens of other images, for examples.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        ids: Tensor,
        hidden: Tensor,
        settings: RestorationSettings,
        candidates: CellCandidates,
        others: Sequence[TokenMap] = (),
    ) -> None:
        own = TokenMap(ids.flatten().tolist(), hidden.flatten().tolist(), hidden.shape[1])
        self.pipeline, self.settings, self.candidates = pipeline, settings, candidates
        self.samples = [list(own.ids) for _ in range(settings.num_samples)]  # h · w ids each
        self.known = [not is_hidden for is_hidden in own.hidden]
        self.context = WindowContext(own.width, settings.n_context, settings.n_predict, settings.n_above)
        self.windows = hidden_windows(own.hidden, settings.n_predict)
        if settings.order == "centre-out":
            self.windows = centre_out(self.windows, (hidden.shape[0], hidden.shape[1]))
        self.codebook = pipeline.grid.local_codebook.token_ids
        random = Random(settings.seed)
        draws = [
            visible_examples([own, *others], self.context, settings.n_examples, random)
            for _ in range(settings.draws)
        ]
        self.examples = split_examples(draws, settings)
        self.predictor = TokenPredictor(pipeline.llm, settings)

    def predict(self, progress: Progress | None = None) -> list[list[WindowPrediction]]:
        """Predict every window of every sample, from examples that are read once: one log a sample."""
        if self.settings.scope == "map":
            query = self.map_query()
            return [
                predict_map(self.pipeline, query, self.settings, number)
                for number in range(self.settings.num_samples)
            ]
        shared = self.predictor.read_examples(self.examples)
        steps = []
        for number, window in enumerate(self.windows):
            steps.append(self.predict_window(number, window, shared))
            if progress:
                progress("windows", number + 1, len(self.windows))
        return [list(log) for log in zip(*steps, strict=True)]

    def map_query(self) -> MapQuery:
        """The query for all hidden cells at once."""
        visible = [
            None if cell in self.candidates else token_id for cell, token_id in enumerate(self.samples[0])
        ]
        return map_query(self.pipeline, visible, self.context.width, self.candidates, self.settings)

    def predict_window(
        self, number: int, window: list[int], shared: list[CachedPrefix]
    ) -> list[WindowPrediction]:
        """Predict one window, once for each sample, and write the predictions into the samples."""
        queries = [self.query(window, sample) for sample in self.samples]
        # Each query samples with its own seed, and no two windows share one.
        predictions = self.predictor.predict(queries, number * len(queries), shared)
        for sample, prediction in zip(self.samples, predictions, strict=True):
            for cell, token_id in zip(prediction.cells, prediction.ids, strict=True):
                sample[cell] = token_id
                self.known[cell] = True
        return predictions

    def query(self, window: Sequence[int], sample: Sequence[int]) -> MaskedWindow:
        """One window of one sample, with the tokens that are known now."""
        given = tuple(sample[cell] for cell in self.context.cells(self.known, window))
        return MaskedWindow(tuple(window), given, self.allowed(window))

    def allowed(self, window: Sequence[int]) -> tuple[WeightedIds, ...]:
        """The tokens that may be predicted in each cell of a window."""
        return tuple(allowed_tokens(self.candidates[cell], self.codebook, self.settings) for cell in window)

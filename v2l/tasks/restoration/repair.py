"""corrupted image + clean and corrupted example images ──► restored image.

The clean version of the image is not known.

The frozen LLM sees windows of corrupted tokens beside the clean tokens of example images, and predicts the
clean tokens of this image. A corruption that moves content (a rotation, a shift) is found from the examples
alone. Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, without its oracle examples.
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
from v2l.progress import Progress
from v2l.prompts.denoise import Window
from v2l.tasks.restoration.inpaint import filled_ids, whole_at_model_size
from v2l.tasks.restoration.settings import RestorationSettings, settings_or_default
from v2l.tasks.restoration.token_prediction import (
    MaskedWindow,
    TokenPredictor,
    WindowPrediction,
    allowed_tokens,
    split_examples,
)
from v2l.tasks.restoration.token_prior import (
    CellCandidates,
    TokenGrids,
    code_vectors,
    corrupted_cell_candidates,
    estimate_source_cells,
)
from v2l.tasks.restoration.whole_map import MapQuery, map_query, predict_map
from v2l.tasks.restoration.windows import WindowContext, hidden_windows
from v2l.tokens import ImageTokens

WINDOWS_PER_CALL = 32  # of the LLM; progress is reported after each call


class TokenPair(NamedTuple):
    """The tokens of one example image, h · w ids each."""

    clean: tuple[int, ...]
    corrupted: tuple[int, ...]


@dataclass(frozen=True)
class Repaired:
    """A restored image.

    Attributes:
        image: (3, H, W) in [0, 1]; height and width are exchanged back when the corruption had exchanged
            them. When the corruption moves content, this is the decoded picture. Otherwise it is the
            corrupted image plus what the decoded predictions differ by from the decoded corrupted tokens.
        tokens: the predicted tokens, B = 1.
        log: one entry for each window.
        candidates: cell ──► its candidate tokens. The first of them is the prediction without an LLM.
        realigned: (h, w) int64, the corrupted tokens, moved back to the place of their content.
        decode: (1, h, w) token ids ──► their image, (3, H, W), made as `image` was.
    """

    image: Tensor
    tokens: ImageTokens
    log: tuple[WindowPrediction, ...]
    candidates: CellCandidates
    realigned: Tensor
    decode: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CorruptedPhotograph:
    """A corrupted photograph, at the size of the model, and example pairs of the same corruption.

    Attributes:
        corrupted: (3, H', W') in [0, 1].
        tokens: of `corrupted`, B = 1.
        sources: for each cell of the clean grid, the corrupted cell that holds its content.
        grid: rows and columns of the clean grid.
        pairs: tokens of the examples, corrupted ones moved back to their places.
        decode: (1, h, w) token ids ──► the restored photograph (3, H, W).
    """

    corrupted: Tensor
    tokens: ImageTokens
    sources: list[int]
    grid: tuple[int, int]
    pairs: list[TokenPair]
    decode: Callable[[Tensor], Tensor]

    @property
    def realigned(self) -> Tensor:
        """(h, w) int64: the corrupted tokens, moved back to the place of their content."""
        return self.tokens.local_ids.flatten().cpu()[self.sources].view(self.grid)

    def predictor(self, pipeline: Pipeline, settings: RestorationSettings) -> CorruptionPredictor:
        """What predicts its clean tokens."""
        ids = tuple(self.realigned.flatten().tolist())
        return CorruptionPredictor(pipeline, ids, self.grid[1], self.pairs, settings)


def corrupted_photograph(
    pipeline: Pipeline, image: Tensor, corruption: Corruption, examples: Sequence[Tensor]
) -> CorruptedPhotograph:
    """Encode a corrupted photograph (3, H, W), and find from the examples where its content belongs."""
    corrupted = whole_at_model_size(image, pipeline)
    tokens = pipeline.grid.encode(corrupted[None], crop=False)
    clean_size = corrupted_size(corruption, corrupted)
    grid = (clean_size[0] // pipeline.grid.factor, clean_size[1] // pipeline.grid.factor)
    pairs = [token_pair(pipeline, example, corruption, clean_size) for example in examples]
    sources = find_source_cells(pipeline, pairs, grid, (tokens.local_ids.shape[1], tokens.local_ids.shape[2]))
    size = corrupted_size(corruption, image)

    def decode(local_ids: Tensor) -> Tensor:
        decoded = resize(pipeline.grid.decode(tokens.with_local_ids(local_ids))[0].cpu(), size)
        if sources != list(range(len(sources))):
            return decoded
        # Nothing was moved: keep the detail of the image that the tokens do not hold, and add the predicted
        # change.
        unchanged = resize(pipeline.grid.decode(tokens)[0].cpu(), size)
        return (image + decoded - unchanged).clamp(0, 1)

    return CorruptedPhotograph(corrupted, tokens, sources, grid, realigned_pairs(pairs, sources), decode)


def repair(
    pipeline: Pipeline,
    image: Tensor,
    corruption: Corruption,
    examples: Sequence[Tensor],
    settings: RestorationSettings | None = None,
    progress: Progress | None = None,
) -> Repaired:
    """Restore a corrupted image.

    Args:
        pipeline: tokenizer and LLM.
        image: (3, H, W) float32 in [0, 1].
        corruption: what the image is assumed to have gone through. It is applied to the examples; the LLM
            does not get it.
        examples: clean images (3, H, W) of any size.
        settings: how the LLM is prompted; None takes the preset for an LLM with or without an adapter.
        progress: called as ("windows", windows done, all windows).

    Raises:
        V2LError: there are no examples, more than one sample is requested, or a prompt is longer than the
            LLM's context.
    """
    settings = settings_or_default(settings, pipeline)
    check_request(examples, settings)
    photograph = corrupted_photograph(pipeline, image, corruption, examples)
    predictor = photograph.predictor(pipeline, settings)
    log, realigned = predictor.predict(progress), photograph.realigned
    filled = filled_ids(realigned[None], log)
    return Repaired(
        photograph.decode(filled),
        photograph.tokens.with_local_ids(filled),
        tuple(log),
        predictor.candidates,
        realigned,
        photograph.decode,
    )


def check_request(examples: Sequence[Tensor], settings: RestorationSettings) -> None:
    """Refuse a repair without examples or with several samples.

    Raises:
        V2LError: as said.
    """
    if not examples:
        allowed = "clean photographs to learn the corruption from"
        raise V2LError("got no example images", allowed, "--examples FOLDER")
    if settings.num_samples > 1:
        got = f"got {settings.num_samples} samples of a corrupted image"
        raise V2LError(got, "1; only masked images have more", "--set num_samples=1")


def corrupted_size(corruption: Corruption, image: Tensor) -> tuple[int, int]:
    """(H, W) of a corrupted image; of a clean one too, since a second exchange of sides undoes the first."""
    height, width = corruption.apply(torch.zeros(1, *image.shape[-2:])).shape[-2:]
    return height, width


def token_pair(
    pipeline: Pipeline, example: Tensor, corruption: Corruption, size: tuple[int, int]
) -> TokenPair:
    """Encode a clean image and its corrupted version.

    Args:
        pipeline: gives the tokenizer.
        example: (3, H, W) in [0, 1], resized and cropped around its centre.
        corruption: applied to the cropped image.
        size: (height, width) of the crop.
    """
    scale = max(side / own for side, own in zip(size, example.shape[-2:], strict=True))
    height, width = (
        max(side, round(own * scale)) for side, own in zip(size, example.shape[-2:], strict=True)
    )
    clean = centre_crop(resize(example, (height, width)), size)
    corrupted = corruption.apply(clean)
    return TokenPair(
        tuple(pipeline.grid.encode_local(clean[None].contiguous()).flatten().tolist()),
        tuple(pipeline.grid.encode_local(corrupted[None].contiguous()).flatten().tolist()),
    )


def find_source_cells(
    pipeline: Pipeline,
    pairs: Sequence[TokenPair],
    clean_grid: tuple[int, int],
    corrupted_grid: tuple[int, int],
) -> list[int]:
    """For every cell of the clean grid, the corrupted cell that holds its content, estimated from the pairs.

    Args:
        pipeline: gives the code vectors.
        pairs: of the examples.
        clean_grid: (h, w).
        corrupted_grid: (h', w').
    """
    clean = torch.tensor([pair.clean for pair in pairs]).view(len(pairs), *clean_grid)
    corrupted = torch.tensor([pair.corrupted for pair in pairs]).view(len(pairs), *corrupted_grid)
    return estimate_source_cells(code_vectors(pipeline.grid, clean), code_vectors(pipeline.grid, corrupted))


def realigned_pairs(pairs: Sequence[TokenPair], sources: Sequence[int]) -> list[TokenPair]:
    """The pairs with their corrupted tokens moved back to the place of their content."""
    return [TokenPair(pair.clean, tuple(pair.corrupted[cell] for cell in sources)) for pair in pairs]


class CorruptionPredictor:
    """Predicts the clean tokens of one corrupted grid; its windows do not depend on each other.

    Args:
        pipeline: gives the LLM, the ids of the local codebook and their code vectors.
        corrupted: h · w ids in raster order of the clean grid.
        width: w of the clean grid.
        pairs: of the examples, realigned.
        settings: how the LLM is prompted.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        corrupted: tuple[int, ...],
        width: int,
        pairs: Sequence[TokenPair],
        settings: RestorationSettings,
    ) -> None:
        self.pipeline, self.corrupted, self.pairs, self.settings = pipeline, corrupted, pairs, settings
        self.context = WindowContext(width, settings.n_before, settings.n_predict, settings.n_above)
        self.windows = hidden_windows([True] * len(corrupted), settings.n_predict)
        self.predictor = TokenPredictor(pipeline.llm, settings)
        self.stretches = SimilarStretches(pipeline, corrupted, [pair.corrupted for pair in pairs])
        self.codebook = pipeline.grid.local_codebook.token_ids
        grid = (len(corrupted) // width, width)
        grids = TokenGrids(
            torch.tensor([pair.clean for pair in pairs]).view(-1, *grid),
            torch.tensor([pair.corrupted for pair in pairs]).view(-1, *grid),
            torch.tensor(corrupted).view(grid),
        )
        count = max(1, settings.num_candidates)
        self.candidates = dict(enumerate(corrupted_cell_candidates(pipeline.grid, grids, count)))

    def predict(self, progress: Progress | None = None) -> list[WindowPrediction]:
        """Predict every window, many in one batch; or the whole map at once."""
        if self.settings.scope == "map":
            return predict_map(self.pipeline, self.map_query(), self.settings)
        log: list[WindowPrediction] = []
        # A batch has windows of one length; the last window of the grid can be shorter.
        for size in sorted({len(window) for window in self.windows}, reverse=True):
            equal = [window for window in self.windows if len(window) == size]
            for start in range(0, len(equal), WINDOWS_PER_CALL):
                queries = [self.query(window) for window in equal[start : start + WINDOWS_PER_CALL]]
                log += self.predictor.predict(queries, len(log))
                if progress:
                    progress("windows", len(log), len(self.windows))
        return log

    def map_query(self) -> MapQuery:
        """The query for all cells at once."""
        return map_query(self.pipeline, self.corrupted, self.context.width, self.candidates, self.settings)

    def query(self, window: list[int]) -> MaskedWindow:
        """One window: the examples most similar to it, then its own corrupted tokens."""
        settings = self.settings
        nearest = self.stretches.nearest(window, settings.n_examples * settings.draws)
        examples = []
        for number, start in reversed(nearest):  # the most similar example stands next to the query
            cells = range(start, start + len(window))
            pair = self.pairs[number]
            given = self.given(pair.corrupted, cells)
            examples.append(Window(given, tuple(pair.clean[cell] for cell in cells)))
        draws = [examples[draw :: settings.draws] for draw in range(settings.draws)]
        allowed = tuple(allowed_tokens(self.candidates[cell], self.codebook, settings) for cell in window)
        own = self.given(self.corrupted, window)
        return MaskedWindow(tuple(window), own, allowed, split_examples(draws, settings))

    def given(self, corrupted: Sequence[int], window: Sequence[int]) -> tuple[int, ...]:
        """The corrupted tokens that a query shows: those around the window, then its own."""
        known = [True] * len(corrupted)
        return tuple(corrupted[cell] for cell in [*self.context.cells(known, window), *window])


class SimilarStretches:
    """Finds the stretches of example images that are most similar to a window.

    Similarity is measured between the code vectors of their tokens.

    Args:
        pipeline: gives the code vectors.
        corrupted: h · w ids of the image to restore.
        others: as many ids of each example image, corrupted in the same way.
    """

    def __init__(self, pipeline: Pipeline, corrupted: Sequence[int], others: Sequence[Sequence[int]]) -> None:
        vectors = code_vectors(pipeline.grid, torch.tensor([corrupted, *others]))  # (1 + n, h · w, d)
        self.own, self.others = vectors[0], vectors[1:]

    def nearest(self, window: Sequence[int], count: int) -> list[tuple[int, int]]:
        """The most similar stretches at any place of any example image.

        Args:
            window: m neighbouring cells of the image to restore.
            count: how many; fewer when there are fewer.

        Returns:
            (image, first cell) of each, the most similar first.
        """
        length = len(window)
        wanted = self.own[window[0] : window[0] + length]  # (m, d)
        # unfold: (n, h · w, d) → (n, starts, d, m), with starts = h · w - m + 1; movedim: → (n, starts, m, d)
        stretches = self.others.unfold(1, length, 1).movedim(-1, 2)
        distances = (stretches - wanted).square().sum(dim=(2, 3)).flatten()  # (n · starts,)
        nearest = distances.sort(stable=True).indices[:count].tolist()
        return [divmod(place, stretches.shape[1]) for place in nearest]

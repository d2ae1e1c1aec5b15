"""photograph + task ──► test case: the clean square, its corrupted version, and the answers of all methods.

Protocols are never mixed. `paper`: the examples are noisy copies of the clean image's tokens, and the global
words come from the clean image too. `official`: the same with noise and shift of the official code. `blind`:
no method gets a masked or an uncorrupted pixel. Sources: V2L Tokenizer, arXiv 2403.07874, section 4.3; the
official code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from v2l.corruptions import REGIONS, Blur, Rotation, Shift, corner_crop, draw_corruption
from v2l.errors import V2LError
from v2l.evaluation.reconstruction_methods import in_8_bits
from v2l.evaluation.restoration.baselines import candidate_fill, mean_fill, nearest_token_fill, telea_fill
from v2l.evaluation.restoration.noisy_copies import vote
from v2l.evaluation.restoration.oracle import CorruptedTokens, Denoised, denoise
from v2l.images import resize_shorter
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress
from v2l.tasks.restoration.inpaint import cell_candidates, filled_ids, inpaint, mask_photograph
from v2l.tasks.restoration.repair import check_request, corrupted_photograph
from v2l.tasks.restoration.restorer import Restorer
from v2l.tasks.restoration.settings import RestorationSettings
from v2l.tasks.restoration.soft import check_codes, fill_cells, repair_cells
from v2l.tasks.restoration.token_prior import CellCandidates
from v2l.tokens import ImageTokens

PROTOCOLS = ("paper", "official", "blind")
MASKING = ("inpaint", "outpaint")  # the tasks with masked pixels; the others have corrupted ones
# The methods, as reports and journals name them.
LLM, VOTE, NEAREST = "LLM", "plurality vote", "nearest visible token"
FIRST, RANDOM = "first of the LLM's choices", "random one of the LLM's choices"
MEAN, TELEA, NOTHING, INVERSE = "mean fill", "Telea", "nothing done", "exact inverse"
AS_CORRUPTED, REALIGNED, CEILING = "damaged tokens", "damaged tokens, moved back", "all tokens right"
TokenRows = dict[str, Tensor]  # method ──► (h, w) int64 local tokens
PictureRows = dict[str, Tensor]  # method ──► (3, S, S) in [0, 1]


@dataclass(frozen=True)
class RestorationCase:
    """One photograph and one task.

    Attributes:
        task: inpaint, outpaint, deblur, unshift or unrotate.
        clean: (3, S, S) in [0, 1].
        corrupted: (3, S, S) in [0, 1]; the clean image itself where pixels are masked.
        hidden: (h, w) bool, the cells to predict.
        mask: (S, S) bool, their pixels.
        corruption: of the image; None where pixels are masked, and for a crop of the corner.
    """

    task: str
    clean: Tensor
    corrupted: Tensor
    hidden: Tensor
    mask: Tensor
    corruption: Blur | Shift | Rotation | None = None

    @property
    def is_masked(self) -> bool:
        """True when pixels are masked, False when all of them are corrupted."""
        return self.task in MASKING


class CaseResults(NamedTuple):
    """One test case, restored by all methods.

    Attributes:
        ids: the local tokens of the methods that have any.
        predicted: (n,) int64 raster numbers of the cells that the LLM predicted.
        pictures: of all methods; empty when the LLM predicted only some of the windows.
    """

    ids: TokenRows
    predicted: Tensor
    pictures: PictureRows


@dataclass(frozen=True)
class CaseSettings:
    """How a test case is made and restored.

    Attributes:
        protocol: paper, official or blind.
        prediction: how the LLM is prompted.
        windows: at most so many windows of a case, except by the blind protocol; None means all.
        prompts: whether the LLM is prompted; by the blind protocol it may be left out, to measure the others.

    Raises:
        V2LError: the protocol is unknown, or needs the prompts.
    """

    protocol: str = "paper"
    prediction: RestorationSettings = field(default_factory=RestorationSettings)
    windows: int | None = None
    prompts: bool = True

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise V2LError(f"got the protocol {self.protocol!r}", ", ".join(PROTOCOLS), "--protocol paper")
        if not (self.prompts or self.blind):
            raise V2LError(f"got no prompts with the protocol {self.protocol}", "blind", "--protocol blind")

    @property
    def blind(self) -> bool:
        """True when no method gets the clean image."""
        return self.protocol == "blind"

    @property
    def official(self) -> bool:
        """True when noise and shift are those of the official code."""
        return self.protocol == "official"


def make_case(
    pipeline: Pipeline, photograph: Tensor, task: str, seed: int, official: bool = False
) -> RestorationCase:
    """Mask or corrupt a photograph.

    Args:
        pipeline: gives the size and the grid.
        photograph: (3, H, W) in [0, 1].
        task: one of `corruptions.TASKS`.
        seed: of the corruption.
        official: shift by a crop of the corner.
    """
    tokenizer = pipeline.grid
    clean = in_8_bits(tokenizer.square(photograph[None])[0]).cpu()
    size, factor = clean.shape[-1], tokenizer.factor
    hidden = REGIONS[task]((size // factor, size // factor))
    mask = hidden.repeat_interleave(factor, 0).repeat_interleave(factor, 1)  # (h, w) → (S, S)
    if task in MASKING:
        return RestorationCase(task, clean, clean, hidden, mask)
    if task == "unshift" and official:
        corner = corner_crop(resize_shorter(photograph, size), size)
        return RestorationCase(task, clean, in_8_bits(corner), hidden, mask)
    corruption = draw_corruption(task, torch.Generator().manual_seed(seed))
    return RestorationCase(task, clean, in_8_bits(corruption.apply(clean)), hidden, mask, corruption)


class Methods:
    """The LLM and its baselines.

    Args:
        pipeline: tokenizer and LLM.
        settings: protocol, and how the LLM is prompted.
        examples: clean photographs (3, H, W), from which the blind protocol learns a corruption.
        restorers: title ──► restorer with its LLM, which the blind protocol measures too.

    Raises:
        V2LError: the blind protocol has no examples, or a restorer belongs to other codes.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: CaseSettings,
        examples: Sequence[Tensor] = (),
        restorers: Mapping[str, Restorer] | None = None,
    ) -> None:
        if settings.blind and not examples:
            allowed = "clean photographs, other ones than are measured"
            raise V2LError("got no example images", allowed, "--examples FOLDER")
        self.pipeline, self.settings, self.examples = pipeline, settings, examples
        self.restorers = restorers or {}
        for restorer in self.restorers.values():
            check_codes(pipeline, restorer)

    def restore(self, case: RestorationCase, seed: int, progress: Progress | None = None) -> CaseResults:
        """Restore one test case by all methods.

        Args:
            case: a photograph, masked or corrupted.
            seed: of all random choices for it.
            progress: called as ("windows", windows done, all windows).
        """
        tokenizer = self.pipeline.grid
        clean = ImageTokens(
            tokenizer.global_tokens(case.clean[None])[1].cpu(),
            tokenizer.encode_local(case.clean[None]).cpu(),
        )
        settings = replace(self.settings.prediction, seed=seed)
        if not self.settings.blind:
            return self._by_paper(case, clean, settings, progress)
        by_task = self._blind_masked if case.is_masked else self._blind_corrupted
        ids, decode = by_task(case, clean.local_ids[0], settings, progress)
        pictures = {row: in_8_bits(decode(of_row[None])) for row, of_row in ids.items()}
        predicted = case.hidden.flatten().nonzero().flatten()
        return CaseResults(ids, predicted, pictures | pixel_rows(case))

    def _by_paper(
        self,
        case: RestorationCase,
        clean: ImageTokens,
        settings: RestorationSettings,
        progress: Progress | None,
    ) -> CaseResults:
        """The paper's or the official protocol: pictures are decoded with the clean image's global words."""
        corrupted = clean.local_ids if case.is_masked else self._encoded(case)[None]
        tokens = CorruptedTokens(clean.local_ids[0], corrupted[0], case.hidden, sequential=case.is_masked)
        windows, official = self.settings.windows, self.settings.official
        done = denoise(self.pipeline, tokens, settings, windows, official, progress)
        ids = {LLM: done.ids, VOTE: voted(done, case.hidden), CEILING: clean.local_ids[0]}
        if case.is_masked:
            ids[NEAREST] = nearest_token_fill(clean.local_ids[0], case.hidden)
        else:
            ids[AS_CORRUPTED] = corrupted[0]
        predicted = torch.tensor([cell for window in done.log for cell in window.cells])
        if len(predicted) < int(case.hidden.sum()):
            return CaseResults(ids, predicted, {})
        pictures = {row: self._decoded(clean.with_local_ids(of_row[None])) for row, of_row in ids.items()}
        return CaseResults(ids, predicted, pictures | pixel_rows(case))

    def _blind_masked(
        self, case: RestorationCase, clean: Tensor, settings: RestorationSettings, progress: Progress | None
    ) -> tuple[TokenRows, Callable[[Tensor], Tensor]]:
        photograph = mask_photograph(self.pipeline, case.corrupted, case.mask)
        ids, hidden = photograph.ids, photograph.hidden
        rows: TokenRows = {}
        if self.settings.prompts:
            done = inpaint(self.pipeline, case.corrupted, case.mask, settings, progress, self.examples)
            rows[LLM] = done.tokens.local_ids[0]
        for title, restorer in self.restorers.items():
            rows[title] = fill_cells(self.pipeline, restorer, photograph)
        candidates = cell_candidates(self.pipeline, ids, hidden, settings)
        rows |= {
            **candidate_rows(ids, candidates, settings.seed),
            NEAREST: nearest_token_fill(ids, hidden),
            CEILING: torch.where(hidden, clean, ids),
        }
        return rows, photograph.decode

    def _blind_corrupted(
        self, case: RestorationCase, clean: Tensor, settings: RestorationSettings, progress: Progress | None
    ) -> tuple[TokenRows, Callable[[Tensor], Tensor]]:
        if case.corruption is None:
            raise ValueError("the blind protocol corrupts images in a way that examples can show")
        check_request(self.examples, settings)
        photograph = corrupted_photograph(self.pipeline, case.corrupted, case.corruption, self.examples)
        predictor, realigned = photograph.predictor(self.pipeline, settings), photograph.realigned
        rows: TokenRows = {}
        if self.settings.prompts:
            rows[LLM] = filled_ids(realigned[None], predictor.predict(progress))[0]
        for title, restorer in self.restorers.items():
            rows[title] = repair_cells(self.pipeline, restorer, photograph, case.task)
        rows |= {
            **candidate_rows(realigned, predictor.candidates, settings.seed),
            REALIGNED: realigned,
            AS_CORRUPTED: self._encoded(case),
            CEILING: clean,
        }
        return rows, photograph.decode

    def _encoded(self, case: RestorationCase) -> Tensor:
        """(h, w) int64: the local tokens of the corrupted image."""
        return self.pipeline.grid.encode_local(case.corrupted[None]).cpu()[0]

    def _decoded(self, tokens: ImageTokens) -> Tensor:
        return in_8_bits(self.pipeline.grid.decode(tokens)[0].cpu())


def candidate_rows(ids: Tensor, candidates: CellCandidates, seed: int) -> TokenRows:
    """The choices among the LLM's candidates without the LLM: the first one, and a random one."""
    return {
        FIRST: candidate_fill(ids, candidates),
        RANDOM: candidate_fill(ids, candidates, Random(seed)),
    }


def pixel_rows(case: RestorationCase) -> PictureRows:
    """The baselines that use pixels, not tokens."""
    if case.is_masked:
        return {
            MEAN: in_8_bits(mean_fill(case.corrupted, case.mask)),
            TELEA: telea_fill(case.corrupted, case.mask),
        }
    inverse = case.corruption.undo(case.corrupted) if case.corruption else None
    return {NOTHING: case.corrupted} | ({INVERSE: inverse} if inverse is not None else {})


def voted(done: Denoised, hidden: Tensor) -> Tensor:
    """The vote over the noisy copies in every hidden cell: (h, w) int64."""
    ids = done.ids.clone()
    for row, column in hidden.nonzero().tolist():
        ids[row, column] = vote(done.copies, row * hidden.shape[1] + column)
    return ids

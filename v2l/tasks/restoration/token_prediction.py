"""masked windows, each with its examples ──► the tokens that the frozen LLM predicts in them.

Several prompts can predict one window together: the log-probabilities after them are averaged (draws and
splits of the examples), and those without examples are subtracted (contrast). No component counts or copies
the tokens of the examples: predictions come from the LLM's log-probabilities, plus `prior_weight` times the
prior of each candidate. Sources: V2L Tokenizer, arXiv 2403.07874, section 4.3; contrast as in Holtzman et
al., arXiv 2104.08315, and Li et al., arXiv 2210.15097.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from v2l.llm import CachedPrefix, FrozenLLM, GenerationConfig, PositionIds, WeightedIds
from v2l.llm.constraints import Ids
from v2l.prompts.denoise import Window, denoise_examples, denoise_query
from v2l.prompts.prompt import Prompt
from v2l.tasks.restoration.settings import RestorationSettings
from v2l.tasks.restoration.token_prior import CandidateTokens

ExampleSets = Sequence[Sequence[Window]]  # one set of examples for each prompt


@dataclass(frozen=True)
class MaskedWindow:
    """A window of masked or corrupted tokens, as the LLM is prompted to predict it.

    Attributes:
        cells: raster numbers of the cells to predict.
        given: the token ids that the query shows.
        allowed: for each cell, the ids that may be predicted.
        examples: one set of examples for each prompt; empty when all windows share examples that were read
            before.
    """

    cells: tuple[int, ...]
    given: tuple[int, ...]
    allowed: tuple[Ids, ...]
    examples: tuple[tuple[Window, ...], ...] = ()


@dataclass(frozen=True)
class WindowPrediction:
    """The prediction of one window: an entry of the log.

    Attributes:
        cells: raster numbers of the cells.
        given: the token ids that the query showed.
        ids: the predicted token ids.
        loglikelihood: log p(ids | prompt) among all tokens of the LLM, without the prior; of several prompts,
            by their mixture.
    """

    cells: tuple[int, ...]
    given: tuple[int, ...]
    ids: tuple[int, ...]
    loglikelihood: float


def allowed_tokens(
    candidates: CandidateTokens, codebook: Tensor, settings: RestorationSettings
) -> WeightedIds:
    """Candidate token ids for one cell, with additive log-prior weights.

    Args:
        candidates: of the cell, with their log-prior.
        codebook: (V,) int64, all ids of the local codebook: what is allowed when `num_candidates` is 0.
        settings: `prior_weight` scales the prior.
    """
    if not settings.num_candidates:
        return WeightedIds(codebook)
    return WeightedIds(
        torch.tensor(candidates.ids), settings.prior_weight * torch.tensor(candidates.logprobs)
    )


def split_examples(
    draws: Sequence[Sequence[Window]], settings: RestorationSettings
) -> tuple[tuple[Window, ...], ...]:
    """Distribute each draw of examples over the prompts in turn: example i goes to prompt i mod `splits`."""
    return tuple(tuple(draw[split :: settings.splits]) for draw in draws for split in range(settings.splits))


@dataclass(frozen=True)
class TokenPredictor:
    """Masked windows ──► predictions.

    Attributes:
        llm: the frozen LLM.
        settings: how it is prompted.
    """

    llm: FrozenLLM
    settings: RestorationSettings

    def read_examples(self, examples: ExampleSets) -> list[CachedPrefix]:
        """Read the examples that all windows share: one context for each prompt."""
        return [self.llm.read(self._examples_prompt(some)) for some in [*examples, *self._no_examples()]]

    def read_examples_of_each(self, examples: Sequence[ExampleSets]) -> Iterator[list[CachedPrefix]]:
        """Read the examples of several windows in one pass.

        The tokens that their queries show are not needed yet.

        Args:
            examples: for every window, one set for each prompt.

        Yields:
            for every window, its contexts.
        """
        # Column k holds the k-th prompt of every window; a column is one batch of the LLM.
        columns = [
            self.llm.read_all([self._examples_prompt(one) for one in column])
            for column in zip(*examples, strict=True)
        ]
        without = [self.llm.read(self._examples_prompt(none)) for none in self._no_examples()]
        for number in range(len(examples)):
            yield [*(column.select([number]) for column in columns), *without]

    def predict(
        self, windows: Sequence[MaskedWindow], seed: int = 0, shared: Sequence[CachedPrefix] | None = None
    ) -> list[WindowPrediction]:
        """Predict windows that do not depend on each other, in batches.

        Args:
            windows: all with the same number of cells.
            seed: of sampling, added to the settings'; window i samples with the i-th seed after it.
            shared: the contexts that `read_examples` gave, when the windows have no examples of their own.

        Raises:
            V2LError: a prompt is longer than the LLM's context.
        """
        settings = self.settings
        prompts = [self.prompts_for(window, shared is not None) for window in windows]
        tokens = sum(len(self.llm.encode_pieces(prompt)) for prompt in prompts[0])
        config = GenerationConfig(
            len(windows[0].cells),
            settings.temperature,
            settings.top_k,
            seed=settings.seed + seed,
            ends=False,  # an end-of-text token can be a visual token, too
            batch_size=len(prompts[0]) * max(1, settings.batch_tokens // tokens),
        )
        after: Sequence[CachedPrefix | None] = shared or [None] * len(settings.prompt_weights)
        allowed = [PositionIds(window.allowed) for window in windows]
        answers = self.llm.generate_mixed(prompts, settings.prompt_weights, config, after, allowed)
        return [
            WindowPrediction(window.cells, window.given, answer.ids, answer.loglikelihood)
            for window, answer in zip(windows, answers, strict=True)
        ]

    def prompts_for(self, window: MaskedWindow, shared: bool = False) -> list[Prompt]:
        """The prompts that together predict one window.

        There is one for each set of examples, and one without examples for the contrast.

        Args:
            window: what to predict.
            shared: True when the examples were read before, so that each prompt is the query alone.
        """
        query = denoise_query(window.given, self.settings.prompt)
        if shared:
            return [query] * len(self.settings.prompt_weights)
        return [self._examples_prompt(some) + query for some in (*window.examples, *self._no_examples())]

    def _no_examples(self) -> list[tuple[Window, ...]]:
        """The empty set of examples, when there is a contrast."""
        return [()] if self.settings.contrast else []

    def _examples_prompt(self, examples: Sequence[Window]) -> Prompt:
        return denoise_examples(examples, self.settings.n_predict, self.settings.prompt)

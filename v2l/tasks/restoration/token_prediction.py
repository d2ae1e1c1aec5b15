"""windows of missing tokens, each with its examples ──► the tokens that the frozen LLM puts there.

The levers that make a small frozen LLM stronger work here and are settings: the wording, several draws of examples averaged in log
space, contrast against what the LLM would say without examples. None of this counts or copies the examples' tokens: what is told comes
from the LLM's log-probabilities alone, unless `prior_weight` adds the density of what is expected. Sources: V2L Tokenizer, arXiv 2403.07874,
section 4.3; contrast as in Holtzman et al., arXiv 2104.08315, and Li et al., arXiv 2210.15097.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.llm import Context, FrozenLLM, GenerationConfig, Places, Weighted
from v2l.llm.constraints import Ids
from v2l.prompts.denoise import Window, denoise_examples, denoise_query
from v2l.prompts.prompt import Prompt
from v2l.prompts.wording import check_wording
from v2l.tasks.restoration.token_prior import CandidateTokens

ORDERS = ("raster", "centre-out")
READINGS = ("windows", "map")
PRESETS = {  # settings by name, for the tuned prompt: fast and strong by the paper's protocol, blind and adapter by the blind one
    "plain": {"num_candidates": 0},
    "blind": {
        "n_context": 4,
        "n_before": 0,
        "n_predict": 1,
        "n_examples": 8,
        "num_candidates": 4,
        "prior_weight": 3.0,
    },
    "adapter": {"reading": "map", "n_predict": 1, "num_candidates": 16, "prior_weight": 16.0},
    "fast": {"n_context": 4, "n_before": 0, "n_examples": 6},
    "strong": {"n_context": 4, "n_before": 0, "contrast": 0.4, "n_examples": 6, "draws": 5},
}
LEAST = {
    "n_context": 0,
    "n_predict": 1,
    "n_before": 0,
    "n_examples": 0,
    "above": 0,
    "splits": 1,
    "draws": 1,
    "contrast": 0,
    "candidates": 1,
    "temperature": 0,
    "top_k": 0,
    "num_candidates": 0,
    "prior_weight": 0,
    "batch_tokens": 1,
}


@dataclass(frozen=True)
class RestorationSettings:
    """How the LLM is asked.

    Attributes:
        n_context: tokens shown that stand before the missing ones, in raster order.
        n_predict: tokens told at once.
        n_before: the same as `n_context` for windows that are damaged, not missing: shown besides are their own damaged tokens.
        above: tokens shown that stand in the row above the missing ones.
        n_examples: examples before the question.
        splits: the examples are dealt out to so many prompts, and the LLM's log-probabilities after each are averaged.
        draws: the examples are drawn so many times, and all that is told after them is averaged too.
        contrast: how much of the log-probability without examples is taken away.
        order: of windows that build on each other, raster or centre-out.
        candidates: so many answers are sampled, and the likeliest one is kept; by the blind protocol, where cells are hidden.
        seed: of the examples, and of sampling.
        temperature: 0 is greedy.
        top_k: sample among so many likeliest tokens; 0 is all.
        prompt: wording, paper, official or tuned.
        num_candidates: the LLM chooses among so many tokens, those most alike to what is expected of a cell
            (`v2l.tasks.restoration.token_prior`); by the paper's protocol among
            all that stand in its examples. 0 is the whole local codebook, in which a small LLM takes words of like meaning for one another.
        prior_weight: so many times the log-density of what is expected of a cell is added to the LLM's log-probabilities; 0 leaves the choice
            among the num_candidates to the LLM alone. Without a num_candidates, and by the paper's protocol, nothing is expected.
        reading: windows, each behind its examples; or the whole map in one pass, which only an LLM with an adapter can read
            (`v2l.tasks.restoration.whole_map`): num_candidates, prior_weight, candidates and sampling work there, the other settings do not.
        batch_tokens: windows that do not depend on each other are run together, so many prompt tokens at a time.
    """

    n_context: int = 16
    n_predict: int = 2
    n_before: int = 16
    above: int = 0
    n_examples: int = 10
    splits: int = 1
    draws: int = 1
    contrast: float = 0.0
    order: str = "raster"
    candidates: int = 1
    seed: int = 0
    temperature: float = 0.0
    top_k: int = 0
    prompt: str = "tuned"
    num_candidates: int = 32
    prior_weight: float = 0.0
    reading: str = "windows"
    batch_tokens: int = 2048

    def __post_init__(self) -> None:
        check_wording(self.prompt)
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise V2LError(f"got {name} = {getattr(self, name)}", f"{least} and more")
        if self.order not in ORDERS:
            raise V2LError(f"got the order {self.order!r}", ", ".join(ORDERS), "--order raster")
        if self.reading not in READINGS:
            raise V2LError(f"got the reading {self.reading!r}", ", ".join(READINGS), "--set reading=windows")
        if self.candidates > 1 and self.temperature == 0:
            got = f"got {self.candidates} candidates at temperature 0, which would all be equal"
            raise V2LError(got, "a temperature above 0", "--temperature 1")

    @property
    def prompts(self) -> int:
        """How many prompts with examples tell a token together."""
        return self.draws * self.splits

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the prompts: those with examples share one, and the one without any counts against them."""
        return (1 / self.prompts,) * self.prompts + ((-self.contrast,) if self.contrast else ())

    def allowed(self, likely: CandidateTokens, codebook: Tensor) -> Weighted:
        """What may be told of a cell, of what may stand there and of all ids (V,) that there are: `num_candidates` and `prior_weight` at work."""
        if not self.num_candidates:
            return Weighted(codebook)
        return Weighted(torch.tensor(likely.ids), self.prior_weight * torch.tensor(likely.logprobs))

    def deal(self, draws: Sequence[Sequence[Window]]) -> tuple[tuple[Window, ...], ...]:
        """Each draw of examples, dealt out to its prompts in turn: the first to the first, the second to the second, and round again."""
        return tuple(tuple(draw[split :: self.splits]) for draw in draws for split in range(self.splits))


CellCandidates = Mapping[
    int, CandidateTokens
]  # cell ──► tokens that may stand there, the best without an LLM first
BLIND, ADAPTER = RestorationSettings(**PRESETS["blind"]), RestorationSettings(**PRESETS["adapter"])


@dataclass(frozen=True)
class MaskedWindow:
    """One window of missing tokens.

    Attributes:
        cells: raster numbers of the missing tokens.
        given: the token ids that are shown.
        allowed: the ids that may be told, for each of the cells.
        examples: one set for each prompt; empty when all questions share theirs, which were read before.
    """

    cells: tuple[int, ...]
    given: tuple[int, ...]
    allowed: tuple[Ids, ...]
    examples: tuple[tuple[Window, ...], ...] = ()


@dataclass(frozen=True)
class WindowPrediction:
    """One window of the log.

    Attributes:
        cells: raster numbers of the cells.
        given: the token ids that were shown.
        ids: the token ids that the LLM chose.
        loglikelihood: log p(ids | prompt) among all tokens of the LLM; of several draws and contrast, by their mixture.
    """

    cells: tuple[int, ...]
    given: tuple[int, ...]
    ids: tuple[int, ...]
    loglikelihood: float


@dataclass(frozen=True)
class TokenPredictor:
    """Questions ──► answers.

    Attributes:
        llm: the frozen LLM.
        settings: how it is asked.
    """

    llm: FrozenLLM
    settings: RestorationSettings

    def read(self, examples: Sequence[Sequence[Window]]) -> list[Context]:
        """What questions with the same examples share, read once: a context for each prompt."""
        return [self.llm.read(self._examples(some)) for some in [*examples, *self._none()]]

    def read_each(self, examples: Sequence[Sequence[Sequence[Window]]]) -> Iterator[list[Context]]:
        """For questions with examples of their own, whose given tokens are not known yet: their contexts, in order, read in one pass.

        Args:
            examples: for every question, one set for each prompt.
        """
        together = [
            self.llm.read_all([self._examples(one) for one in column])
            for column in zip(*examples, strict=True)
        ]
        without = [self.llm.read(self._examples(none)) for none in self._none()]
        for number in range(len(examples)):
            yield [*(context.select([number]) for context in together), *without]

    def ask(
        self, questions: Sequence[MaskedWindow], seed: int = 0, shared: Sequence[Context] | None = None
    ) -> list[WindowPrediction]:
        """Questions that do not depend on each other, answered in batches.

        Args:
            questions: all with the same number of cells.
            seed: of sampling, added to the settings'; question i draws with the i-th seed behind it.
            shared: what `read` gave, when the questions bring no examples of their own.

        Raises:
            V2LError: a prompt is longer than the LLM's context.
        """
        settings = self.settings
        groups = [self.prompts(question, shared is not None) for question in questions]
        tokens = sum(len(self.llm.encode_pieces(prompt)) for prompt in groups[0])
        config = GenerationConfig(
            len(questions[0].cells),
            settings.temperature,
            settings.top_k,
            seed=settings.seed + seed,
            ends=False,
            batch_size=len(groups[0]) * max(1, settings.batch_tokens // tokens),
        )
        after = shared or [None] * len(settings.weights)
        allowed = [Places(question.allowed) for question in questions]
        answers = self.llm.generate_mixed(groups, settings.weights, config, after, allowed)
        return [
            WindowPrediction(question.cells, question.given, new.ids, new.loglikelihood)
            for question, new in zip(questions, answers, strict=True)
        ]

    def prompts(self, question: MaskedWindow, shared: bool = False) -> list[Prompt]:
        """The prompts that answer one question together: one for each draw, and the one without examples when there is contrast."""
        query = denoise_query(question.given, self.settings.prompt)
        if shared:
            return [query] * len(self.settings.weights)
        return [self._examples(some) + query for some in (*question.examples, *self._none())]

    def _none(self) -> list[tuple[Window, ...]]:
        """The empty set of examples that contrast asks for."""
        return [()] if self.settings.contrast else []

    def _examples(self, examples: Sequence[Window]) -> Prompt:
        return denoise_examples(examples, self.settings.n_predict, self.settings.prompt)

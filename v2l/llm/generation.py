"""cached prefixes ──► new tokens, greedy or sampled, among the allowed ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor
from transformers import NoRepeatNGramLogitsProcessor

from v2l.llm.constraints import Allowed, Constraint, Ids
from v2l.llm.inputs import CausalModel, Row, batches
from v2l.llm.kv_cache import CachedPrefix, common_prefix, join, read, read_prefix, read_prompts


@dataclass(frozen=True)
class GenerationConfig:
    """How new tokens are chosen.

    Attributes:
        max_new_tokens: at most so many, 1 or more.
        temperature: 0 is greedy; above 0, tokens are sampled.
        top_k: sample among so many most probable tokens; 0 is all.
        top_p: sample among the most probable tokens that together have this probability; 1 is all. Source:
            Holtzman et al., arXiv 1904.09751, section 3.1.
        seed: prompt i of a call samples with seed + i, in any batch.
        allowed: None, a set of ids for every step, or a function from the ids generated so far to the next
            ones (`Trie`).
        stop: texts that end a generation; they are cut off its text.
        ends: whether the LLM's own end of text ends a generation; otherwise it is a token like any other.
        batch_size: how many prompts are run together.
        no_repeat: no run of so many tokens comes twice in a generation; 0 is no such rule. Source: Paulus et
            al., arXiv 1705.04304, section 2.5.
        on_token: called with the ids generated so far after each new token of each prompt; an error that it
            raises ends the generation.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    seed: int = 0
    allowed: Allowed = None
    stop: tuple[str, ...] = ()
    ends: bool = True
    batch_size: int = 8
    top_p: float = 1.0
    no_repeat: int = 0
    on_token: Callable[[Sequence[int]], None] | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or min(self.temperature, self.top_k, self.no_repeat) < 0:
            raise ValueError("a generation has max_new_tokens >= 1; temperature, top_k and no_repeat >= 0")
        if not 0 < self.top_p <= 1:
            raise ValueError("a generation has 0 < top_p <= 1")


@dataclass(frozen=True)
class Generation:
    """What the LLM generated after one prompt.

    Attributes:
        ids: the new token ids, without the end of text.
        text: the same as text, up to the first stop text.
        loglikelihood: log p(ids | prompt) before any restriction, natural logarithm; after several prompts,
            by their mixture.
    """

    ids: tuple[int, ...]
    text: str
    loglikelihood: float


@dataclass
class Draft:
    """An unfinished generation: one row of a batch."""

    generator: torch.Generator
    constraint: Constraint
    ids: list[int] = field(default_factory=list)
    loglikelihood: float = 0.0


@dataclass(frozen=True)
class Writer:
    """The generation loop of one call of `generate`.

    Attributes:
        model: a causal LM.
        decode: ids to text.
        end_ids: the LLM's end-of-text ids.
        config: how tokens are chosen.
    """

    model: CausalModel
    decode: Callable[[Iterable[int]], str]
    end_ids: Collection[int]
    config: GenerationConfig

    def write(self, rows: Sequence[Row], after: CachedPrefix | None = None) -> list[Generation]:
        """One generation per row of prompt ids, in their order; the rows' common beginning is read once."""
        return self.write_mixed([[row] for row in rows], (1.0,), [after])

    def write_mixed(
        self,
        groups: Sequence[Sequence[Row]],
        weights: Sequence[float],
        after: Sequence[CachedPrefix | None],
        allowed: Sequence[Allowed] | None = None,
    ) -> list[Generation]:
        """One generation per group; it continues all K prompts of the group at once.

        Args:
            groups: K rows of prompt ids each.
            weights: K numbers; a token's score is the weighted sum of its K log-probabilities.
            after: K prefixes or None; the k-th prompt of every group continues the k-th.
            allowed: what restricts each group's generation; None restricts all by the config's.
        """
        columns = [[group[k] for group in groups] for k in range(len(weights))]
        shared = [common_prefix(column) for column in columns]
        if groups:
            after = [
                read_prefix(self.model, rows[0][:n], prefix)
                for rows, n, prefix in zip(columns, shared, after, strict=True)
            ]
        own = [[row[n:] for row in column] for column, n in zip(columns, shared, strict=True)]
        drafts = self.start_drafts(len(groups), allowed)
        lengths = [sum(map(len, group)) for group in groups]
        for batch in batches(lengths, max(1, self.config.batch_size // len(weights))):
            prefixes = read_columns(self.model, [[column[i] for i in batch] for column in own], after)
            self.write_batch([drafts[i] for i in batch], prefixes, weights)
        return [Generation(tuple(draft.ids), self.text(draft.ids), draft.loglikelihood) for draft in drafts]

    def start_drafts(self, count: int, allowed: Sequence[Allowed] | None) -> list[Draft]:
        """Empty drafts, each with a random generator and a constraint of its own."""
        of_all = Constraint(self.config.allowed)  # built once, since a codebook has many ids
        each = [of_all] * count if allowed is None else [Constraint(one) for one in allowed]
        return [
            Draft(torch.Generator().manual_seed(self.config.seed + i), constraint)
            for i, constraint in enumerate(each)
        ]

    def write_batch(
        self, drafts: Sequence[Draft], prefixes: Sequence[CachedPrefix], weights: Sequence[float]
    ) -> None:
        """Extend B drafts until each is complete; complete ones leave the batch.

        Args:
            drafts: B of them.
            prefixes: K · B rows in all: the first prompts of all drafts, then the second ones, …
            weights: K.
        """
        for _ in range(self.config.max_new_tokens):
            logits = torch.cat([prefix.logits for prefix in prefixes])  # (K · B, V)
            going = self.step(drafts, mixed_logprobs(logits, weights))
            if not going or len(drafts[going[0]].ids) == self.config.max_new_tokens:
                return
            size, drafts = len(drafts), [drafts[row] for row in going]
            new = [draft.ids[-1:] for draft in drafts]
            prefixes = [
                # One prefix may hold several columns of `size` rows each.
                read(self.model, new * (len(prefix) // size), going_on(prefix, going, size)).prefix
                for prefix in prefixes
            ]

    def step(self, drafts: Sequence[Draft], logprobs: Tensor) -> list[int]:
        """Add the next token to each draft, from log-probabilities (B, V); return the rows that go on."""
        going = []
        for row, draft in enumerate(drafts):
            restricted = draft.constraint.apply(logprobs[row], tuple(draft.ids))
            if self.config.no_repeat:
                restricted = without_repeats(restricted, draft.ids, self.config.no_repeat)
            if restricted.max() == -torch.inf:
                continue  # no id is allowed: the draft is complete
            token = choose(restricted, self.config, draft.generator)
            if self.config.ends and token in self.end_ids:
                continue
            draft.ids.append(token)
            draft.loglikelihood += logprobs[row, token].item()
            if self.config.on_token:
                self.config.on_token(draft.ids)
            if not any(stop in self.decode(draft.ids) for stop in self.config.stop):
                going.append(row)
        return going

    def text(self, ids: Sequence[int]) -> str:
        """The ids as text, up to the first stop text."""
        text = self.decode(ids)
        return text[: min((text.index(stop) for stop in self.config.stop if stop in text), default=len(text))]


def read_columns(
    model: CausalModel, columns: Sequence[Sequence[Row]], after: Sequence[CachedPrefix | None]
) -> list[CachedPrefix]:
    """Read K columns of B prompts each.

    Neighbouring columns of equal length are read in one pass, if all of them continue a prefix or none.

    Args:
        model: a causal LM.
        columns: K · B rows of prompt ids.
        after: K prefixes of one row, or None.
    """
    found = []
    keys = [(prefix is None, max(map(len, column))) for column, prefix in zip(columns, after, strict=True)]
    for _, together in groupby(range(len(columns)), key=keys.__getitem__):
        block = list(together)
        rows = [row for k in block for row in columns[k]]
        prefixes = [prefix for k in block if (prefix := after[k]) is not None]
        if prefixes:
            # The prefix of column k is repeated for each of its B rows.
            repeated = [number for number, k in enumerate(block) for _ in columns[k]]
            found.append(read(model, rows, join(prefixes).select(repeated)).prefix)
        else:
            found.append(read_prompts(model, rows))
    return found


def going_on(prefix: CachedPrefix, rows: Sequence[int], size: int) -> CachedPrefix:
    """Some rows, in ascending order, of every block of `size`; the prefix itself if these are all."""
    if len(rows) == size:
        return prefix  # without a copy of all its keys and values
    return prefix.select(every_block(rows, size, len(prefix)))


def every_block(rows: Sequence[int], size: int, total: int) -> list[int]:
    """The same rows of every block of `size` among `total` rows."""
    return [start + row for start in range(0, total, size) for row in rows]


def mixed_logprobs(logits: Tensor, weights: Sequence[float]) -> Tensor:
    """Logits (K · B, V) ──► log-probabilities (B, V) of a product of experts.

    log p(token) = Σ_k weight_k · log p_k(token), normalized again where K > 1.
    """
    logprobs = logits.log_softmax(dim=-1)
    if len(weights) == 1:
        return weights[0] * logprobs
    blocks = logprobs.view(len(weights), -1, logprobs.shape[-1])  # (K, B, V)
    return torch.einsum("k,kbv->bv", blocks.new_tensor(weights), blocks).log_softmax(dim=-1)


def without_repeats(logprobs: Tensor, ids: Sequence[int], length: int) -> Tensor:
    """Log-probabilities (V,), minus infinity for ids that would repeat a run of `length` ids."""
    rule = NoRepeatNGramLogitsProcessor(length)
    before = torch.tensor([list(ids)], dtype=torch.long, device=logprobs.device)
    kept: Tensor = rule(before, logprobs[None])[0]
    return kept


def choose(logprobs: Tensor, config: GenerationConfig, generator: torch.Generator) -> int:
    """The next token id: the most probable one, or one sampled at the config's temperature.

    Args:
        logprobs: (V,) float32; an id at minus infinity is never chosen.
        config: temperature, top_k and top_p.
        generator: the prompt's own random generator, on the CPU.
    """
    if config.temperature == 0:
        return int(logprobs.argmax())
    scaled = logprobs.cpu() / config.temperature
    if 0 < config.top_k < len(scaled):
        kept = scaled.topk(config.top_k)
        scaled = torch.full_like(scaled, -torch.inf).scatter(0, kept.indices, kept.values)
    probabilities = scaled.softmax(dim=0)
    if config.top_p < 1:
        probabilities = nucleus(probabilities, config.top_p)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Probabilities (V,) with 0 for all but the fewest most probable tokens that reach `top_p` together."""
    ranked, order = probabilities.sort(descending=True)
    kept = ranked.cumsum(dim=0) - ranked < top_p  # probability of all tokens that are more probable
    kept[0] = True  # also where `top_p` is 0 in the precision of the probabilities
    return torch.zeros_like(probabilities).scatter(0, order, ranked * kept)


def choose_within(logprobs: Tensor, allowed: Ids, config: GenerationConfig, number: int) -> tuple[int, float]:
    """One token by itself: the chosen id among the allowed ones, and its log-probability among all.

    Args:
        logprobs: (V,) float32.
        allowed: the ids to choose among.
        config: temperature, top_k and seed.
        number: of the choice, added to the seed.
    """
    generator = torch.Generator().manual_seed(config.seed + number)
    token = choose(Constraint(allowed).apply(logprobs, ()), config, generator)
    return token, logprobs[token].item()

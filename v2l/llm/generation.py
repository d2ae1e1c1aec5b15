"""contexts ──► new tokens, greedy or sampled, within what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor
from transformers import PreTrainedModel

from v2l.llm.batches import batches
from v2l.llm.constraints import Allowed, Constraint, Ids
from v2l.llm.kv_cache import Context, Row, common_prefix, join, read, read_prefix, read_prompts


@dataclass(frozen=True)
class GenerationConfig:
    """How new tokens are chosen.

    Attributes:
        max_new_tokens: at most so many, 1 or more.
        temperature: 0 is greedy; above, tokens are sampled.
        top_k: sample among so many likeliest; 0 is all.
        seed: prompt i of a call draws with seed + i, in any batch.
        allowed: None, a set of ids for every step, or a rule from the ids generated so far to the next ones (`Trie`).
        stop: texts that end a generation; they are cut off its text.
        ends: whether the LLM's own end of text ends a generation. Without it an end-of-text token is a token like any other.
        batch_size: how many prompts are run together.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    seed: int = 0
    allowed: Allowed = None
    stop: tuple[str, ...] = ()
    ends: bool = True
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or self.top_k < 0:
            raise ValueError("a generation has max_new_tokens >= 1, temperature >= 0 and top_k >= 0")


@dataclass(frozen=True)
class Generation:
    """What the LLM wrote after one prompt.

    Attributes:
        ids: the new token ids, without the end of text.
        text: the same as text, up to the first stop text.
        loglikelihood: log p(ids | prompt) before any restriction, natural logarithm; after several prompts, by their mixture.
    """

    ids: tuple[int, ...]
    text: str
    loglikelihood: float


@dataclass
class Draft:
    """A generation on its way: one row of a batch."""

    generator: torch.Generator
    constraint: Constraint
    ids: list[int] = field(default_factory=list)
    loglikelihood: float = 0.0


@dataclass(frozen=True)
class Writer:
    """What a call of `generate` needs at every step.

    Attributes:
        model: a causal LM.
        decode: ids to text.
        end_ids: the LLM's end-of-text ids.
        config: how tokens are chosen.
    """

    model: PreTrainedModel
    decode: Callable[[Iterable[int]], str]
    end_ids: Collection[int]
    config: GenerationConfig

    def write(self, rows: Sequence[Row], after: Context | None = None) -> list[Generation]:
        """One generation per row of prompt ids, in their order; the ids that all rows share are read once."""
        return self.write_mixed([[row] for row in rows], (1.0,), [after])

    def write_mixed(
        self,
        groups: Sequence[Sequence[Row]],
        weights: Sequence[float],
        after: Sequence[Context | None],
        allowed: Sequence[Allowed] | None = None,
    ) -> list[Generation]:
        """One generation per group of K prompts that it continues all at once.

        Args:
            groups: K rows of prompt ids each.
            weights: K numbers: a token's score is the weighted sum of its log-probabilities after the K prompts.
            after: K contexts; the k-th is continued by the k-th prompt of every group.
            allowed: what each group's generation is held to; None holds all to the config's.
        """
        constraints = (
            [Constraint(self.config.allowed)] * len(groups)
            if allowed is None
            else [Constraint(one) for one in allowed]
        )
        columns = [[group[k] for group in groups] for k in range(len(weights))]
        shared = [common_prefix(column) for column in columns]
        if groups:
            after = [
                read_prefix(self.model, rows[0][:n], context)
                for rows, n, context in zip(columns, shared, after, strict=True)
            ]
        own = [[row[n:] for row in column] for column, n in zip(columns, shared, strict=True)]
        drafts = [
            Draft(torch.Generator().manual_seed(self.config.seed + i), held)
            for i, held in enumerate(constraints)
        ]
        for batch in batches(
            [sum(map(len, group)) for group in groups], max(1, self.config.batch_size // len(weights))
        ):
            contexts = read_columns(self.model, [[column[i] for i in batch] for column in own], after)
            self.write_batch([drafts[i] for i in batch], contexts, weights)
        return [Generation(tuple(draft.ids), self.text(draft.ids), draft.loglikelihood) for draft in drafts]

    def write_batch(
        self, drafts: Sequence[Draft], contexts: Sequence[Context], weights: Sequence[float]
    ) -> None:
        """Extend B drafts until each is complete; complete ones leave the batch.

        Args:
            drafts: B of them.
            contexts: K · B rows in all, the first prompts of all drafts, then the second ones, …
            weights: K.
        """
        for _ in range(self.config.max_new_tokens):
            going = self.step(
                drafts, mixed_logprobs(torch.cat([context.logits for context in contexts]), weights)
            )
            if not going or len(drafts[going[0]].ids) == self.config.max_new_tokens:
                return
            size, drafts = len(drafts), [drafts[row] for row in going]
            new = [draft.ids[-1:] for draft in drafts]
            contexts = [
                read(
                    self.model,
                    new * (len(context) // size),
                    context.select(every_block(going, size, len(context))),
                ).context
                for context in contexts
            ]

    def step(self, drafts: Sequence[Draft], logprobs: Tensor) -> list[int]:
        """Give each draft its next token, from log-probabilities (B, V); return the rows that go on."""
        going = []
        for row, draft in enumerate(drafts):
            restricted = draft.constraint.apply(logprobs[row], tuple(draft.ids))
            if restricted.max() == -torch.inf:
                continue  # nothing may follow: the draft is complete
            token = choose(restricted, self.config, draft.generator)
            if self.config.ends and token in self.end_ids:
                continue
            draft.ids.append(token)
            draft.loglikelihood += logprobs[row, token].item()
            if not any(stop in self.decode(draft.ids) for stop in self.config.stop):
                going.append(row)
        return going

    def text(self, ids: Sequence[int]) -> str:
        """The ids as text, up to the first stop text."""
        text = self.decode(ids)
        return text[: min((text.index(stop) for stop in self.config.stop if stop in text), default=len(text))]


def read_columns(
    model: PreTrainedModel, columns: Sequence[Sequence[Row]], after: Sequence[Context | None]
) -> list[Context]:
    """Read K columns of B prompts each; neighbouring ones of equal length are read in one pass, when all or none continue a context.

    Args:
        model: a causal LM.
        columns: K · B rows of prompt ids.
        after: K contexts of one row, or None.
    """
    contexts = []
    keys = [(context is None, max(map(len, column))) for column, context in zip(columns, after, strict=True)]
    for (fresh, _), together in groupby(range(len(columns)), key=keys.__getitem__):
        block = list(together)
        rows = [row for k in block for row in columns[k]]
        if fresh:
            contexts.append(read_prompts(model, rows))
        else:
            each = [place for place, k in enumerate(block) for _ in columns[k]]
            contexts.append(read(model, rows, join([after[k] for k in block]).select(each)).context)
    return contexts


def every_block(rows: Sequence[int], size: int, total: int) -> list[int]:
    """The same rows of every block of `size` among `total` rows."""
    return [start + row for start in range(0, total, size) for row in rows]


def mixed_logprobs(logits: Tensor, weights: Sequence[float]) -> Tensor:
    """Logits (K · B, V) ──► (B, V): the weighted sum of K log-softmaxes, as log-probabilities again: a product of experts."""
    logprobs = logits.log_softmax(dim=-1)
    if len(weights) == 1:
        return weights[0] * logprobs
    blocks = logprobs.view(len(weights), -1, logprobs.shape[-1])
    return torch.einsum("k,kbv->bv", blocks.new_tensor(weights), blocks).log_softmax(dim=-1)


def choose(logprobs: Tensor, config: GenerationConfig, generator: torch.Generator) -> int:
    """The next token id: the likeliest, or one drawn at the config's temperature.

    Args:
        logprobs: (V,) float32; minus infinity is never chosen.
        config: temperature and top_k.
        generator: the prompt's own source of chance, on the CPU.
    """
    if config.temperature == 0:
        return int(logprobs.argmax())
    scaled = logprobs.cpu() / config.temperature
    if 0 < config.top_k < len(scaled):
        kept = scaled.topk(config.top_k)
        scaled = torch.full_like(scaled, -torch.inf).scatter(0, kept.indices, kept.values)
    return int(torch.multinomial(scaled.softmax(dim=0), 1, generator=generator))


def choose_within(logprobs: Tensor, allowed: Ids, config: GenerationConfig, number: int) -> tuple[int, float]:
    """One token by itself: the token id that is allowed and chosen, and its log-probability among all.

    Args:
        logprobs: (V,) float32.
        allowed: what may be chosen.
        config: temperature, top_k and seed.
        number: of the choice, added to the seed.
    """
    generator = torch.Generator().manual_seed(config.seed + number)
    token = choose(Constraint(allowed).apply(logprobs, ()), config, generator)
    return token, logprobs[token].item()

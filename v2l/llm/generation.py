"""contexts ──► new tokens, greedy or sampled, within what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from v2l.llm.batches import batches
from v2l.llm.constraints import Allowed, Constraint
from v2l.llm.context import Context, Row, common_prefix, read, read_prefix, read_prompts


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
        loglikelihood: log p(ids | prompt) before any restriction, natural logarithm.
    """

    ids: tuple[int, ...]
    text: str
    loglikelihood: float


@dataclass
class Draft:
    """A generation on its way: one row of a batch."""

    generator: torch.Generator
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
        constraint: what is allowed.
    """

    model: PreTrainedModel
    decode: Callable[[Iterable[int]], str]
    end_ids: Collection[int]
    config: GenerationConfig
    constraint: Constraint

    def write(self, rows: Sequence[Row], after: Context | None = None) -> list[Generation]:
        """One generation per row of prompt ids, in their order; the ids that all rows share are read once."""
        shared = common_prefix(rows)
        if rows:
            after = read_prefix(self.model, rows[0][:shared], after)
        drafts = [Draft(torch.Generator().manual_seed(self.config.seed + i)) for i in range(len(rows))]
        for batch in batches([len(row) for row in rows], self.config.batch_size):
            self.write_batch([drafts[i] for i in batch], read_prompts(self.model, [rows[i][shared:] for i in batch], after))
        return [Generation(tuple(draft.ids), self.text(draft.ids), draft.loglikelihood) for draft in drafts]

    def write_batch(self, drafts: Sequence[Draft], context: Context) -> None:
        """Extend the drafts, one per row of the context, until each is complete; complete rows leave the batch."""
        for _ in range(self.config.max_new_tokens):
            going = self.step(drafts, context.logits)
            if not going or len(drafts[going[0]].ids) == self.config.max_new_tokens:
                return
            drafts = [drafts[row] for row in going]
            context = read(self.model, [draft.ids[-1:] for draft in drafts], context.select(going)).context

    def step(self, drafts: Sequence[Draft], logits: Tensor) -> list[int]:
        """Give each draft its next token, from logits (B, V); return the rows that go on."""
        logprobs = logits.log_softmax(dim=-1)
        restricted = self.constraint.apply(logprobs, [tuple(draft.ids) for draft in drafts])
        going = []
        for row, draft in enumerate(drafts):
            if restricted[row].max() == -torch.inf:
                continue  # nothing may follow: the draft is complete
            token = choose(restricted[row], self.config, draft.generator)
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

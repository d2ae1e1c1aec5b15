"""prompts of text, token ids and embeddings ──► log-likelihoods and new tokens, by a frozen LLM.

Every weight stays bit-equal: the weights need no gradient, and no method here changes one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from v2l.errors import V2LError
from v2l.llm.chat import dialogue_prompt, turns_prompt
from v2l.llm.constraints import Allowed, WeightedIds
from v2l.llm.generation import Generation, GenerationConfig, Writer, choose_within
from v2l.llm.gradients import TokenLoglikelihoods, continuation_loglikelihoods
from v2l.llm.inputs import CausalModel, Row, SoftTokens, embedding_weight
from v2l.llm.kv_cache import CachedPrefix, logits_at, read, read_prompts
from v2l.llm.next_token import top_next_tokens
from v2l.llm.reasoning import split_thought
from v2l.llm.scoring import Score, ScoringRequest, score_requests
from v2l.llm.vocabulary import Vocabulary
from v2l.prompts.dialogue import Dialogue
from v2l.prompts.prompt import Prompt


class FrozenLLM(Vocabulary):
    """A causal language model and its tokenizer, never trained: a `v2l.llm.base.LocalLanguageModel`.

    Args:
        model: any transformers causal LM whose cache holds keys and values.
        tokenizer: its tokenizer.
        name: what it was loaded as.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        settings = model.generation_config
        end_ids = settings.eos_token_id if settings else None
        super().__init__(
            tokenizer,
            name,
            rows=len(embedding_weight(model)),
            end_ids=end_ids if isinstance(end_ids, list) else [end_ids] if end_ids is not None else [],
        )
        model.train(False)  # eval() is not typed
        self.model = model.requires_grad_(False)
        self.adapter: str | None = None  # the folder of a merged adapter, see `v2l.llm.adapters.adapted`
        self.adapter_hash = ""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return torch.device(self.model.device)

    @cached_property
    def context(self) -> int:
        """The longest prompt with its continuation, in tokens."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    @cached_property
    def weights_fingerprint(self) -> str:
        """A hash of all weights' names, shapes and types, of a thousand values of each, and of the adapter.

        Another training, precision or adapter gives another one.
        """
        digest = hashlib.sha256(self.adapter_hash.encode())
        for name, weight in self.model.state_dict().items():
            values = weight.detach().reshape(-1)
            sample = values[:: max(1, len(values) // 1000)].cpu().contiguous()
            digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
            digest.update(sample.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """Name and fingerprint of its vocabulary, and its adapter if it has one."""
        described = {"llm": self.name, "llm_fingerprint": self.fingerprint}
        return described | ({"adapter": self.adapter} if self.adapter else {})

    @property
    def embedding_width(self) -> int:
        """The width of its input embeddings."""
        return embedding_weight(self.model).shape[1]

    @torch.no_grad()
    def input_embeddings(self, ids: Sequence[int]) -> Tensor:
        """(N, width): its own vectors of N token ids, in its precision and on its device."""
        vectors: Tensor = self.model.get_input_embeddings()(torch.tensor(list(ids), device=self.device))
        return vectors

    def hidden_states(self, vectors: Tensor) -> Tensor:
        """Vectors (B, L, width) in place of input embeddings ──► the last hidden states, (B, L, width).

        Gradients flow to the vectors; the weights get none.

        Raises:
            V2LError: L is more than the LLM's context.
        """
        if vectors.shape[1] > self.context:
            got = f"got {vectors.shape[1]} vectors"
            raise V2LError(got, f"{self.context}, which {self.name!r} reads at once", "a smaller image")
        inputs = vectors.to(self.device, embedding_weight(self.model).dtype)
        hidden: Tensor = self.model.base_model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return hidden

    @torch.inference_mode()
    def read(self, prompt: Prompt | str) -> CachedPrefix:
        """Read a prompt once, so that many prompts can continue it (`after=` below).

        Raises:
            V2LError: the prompt is longer than the LLM's context.
        """
        (row,), model = self._rows_of([prompt])
        self._check_length([row], 0, None)
        return read(model, [row]).prefix

    @torch.inference_mode()
    def read_all(self, prompts: Sequence[Prompt | str]) -> CachedPrefix:
        """Read several prompts in one pass; `select([i])` is the prefix of the i-th.

        Raises:
            V2LError: a prompt is longer than the LLM's context.
        """
        rows, model = self._rows_of(prompts)
        self._check_length(rows, 0, None)
        return read_prompts(model, rows)

    @torch.inference_mode()
    def loglikelihood(
        self,
        requests: Sequence[tuple[Prompt | str, Sequence[Prompt | str]]],
        batch_size: int = 8,
        after: CachedPrefix | None = None,
    ) -> list[list[Score]]:
        """Score every continuation of every prompt: log p(continuation | prompt), in float32.

        Args:
            requests: prompts, each with its continuations; a continuation begins with its own space.
            batch_size: how many prompts are run together; the scores do not depend on it.
            after: a cached prefix that all prompts continue.

        Raises:
            V2LError: a prompt with its continuation is longer than the LLM's context, or a continuation
                holds embeddings, which have no probability.
        """
        rows, model = self._rows_of([prompt for prompt, _ in requests], after)
        encoded = [
            ScoringRequest(row, [self.encode_pieces(choice) for choice in choices])
            for row, (_, choices) in zip(rows, requests, strict=True)
        ]
        for request in encoded:
            self._check_length([request.prompt], max(map(len, request.continuations), default=0), after)
        return score_requests(model, encoded, batch_size, after)

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Prompt | str], config: GenerationConfig, after: CachedPrefix | None = None
    ) -> list[Generation]:
        """Continue every prompt.

        Args:
            prompts: what to continue; their common beginning is read once.
            config: how new tokens are chosen.
            after: a cached prefix that all prompts continue.

        Raises:
            V2LError: a prompt with its new tokens is longer than the LLM's context.
        """
        rows, model = self._rows_of(prompts, after)
        self._check_length(rows, config.max_new_tokens, after)
        return Writer(model, self.decode, self.end_ids, config).write(rows, after)

    @torch.inference_mode()
    def generate_mixed(
        self,
        groups: Sequence[Sequence[Prompt | str]],
        weights: Sequence[float],
        config: GenerationConfig,
        after: Sequence[CachedPrefix | None],
        allowed: Sequence[Allowed] | None = None,
    ) -> list[Generation]:
        """Write one continuation for each group of K prompts; all of them together choose each token.

        Args:
            groups: K prompts each.
            weights: K numbers; a token's score is the weighted sum of its K log-probabilities.
            config: how new tokens are chosen.
            after: K cached prefixes or None; the k-th prompt of every group continues the k-th.
            allowed: what restricts the continuation of each group, in place of the config's.

        Raises:
            V2LError: a prompt with its new tokens is longer than the LLM's context.
        """
        soft = self._soft_tokens()
        rows = [
            [self._row(prompt, soft, prefix) for prompt, prefix in zip(group, after, strict=True)]
            for group in groups
        ]
        for k, prefix in enumerate(after):
            self._check_length([group[k] for group in rows], config.max_new_tokens, prefix)
        writer = Writer(soft.reader(), self.decode, self.end_ids, config)
        return writer.write_mixed(rows, weights, after, allowed)

    @torch.inference_mode()
    def answer(
        self, prompt: Prompt, pieces: Sequence[int], allowed: Sequence[WeightedIds], config: GenerationConfig
    ) -> list[Generation]:
        """One token after each of some pieces of a prompt, from one pass; the prompt itself stays as it is.

        Args:
            prompt: the whole prompt.
            pieces: numbers of the pieces after which a token is chosen.
            allowed: the candidates of each.
            config: how it is chosen; the i-th answer samples with seed + i.

        Raises:
            V2LError: the prompt is longer than the LLM's context.
        """
        (row,), model = self._rows_of([prompt])
        self._check_length([row], 0, None)
        logprobs = logits_at(model, row, self.places(prompt, pieces)).log_softmax(dim=-1)
        answers = [
            choose_within(logprobs[number], one, config, number)
            for number, one in zip(range(len(logprobs)), allowed, strict=True)
        ]
        return [Generation((token,), self.decode([token]), loglikelihood) for token, loglikelihood in answers]

    @torch.inference_mode()
    def next_tokens(
        self, prompts: Sequence[Prompt | str], count: int = 1, batch_size: int = 128
    ) -> list[tuple[int, ...]]:
        """The `count` most probable next token ids of each prompt, in order; 1 is the greedy choice.

        The end of text is one of them.

        Raises:
            V2LError: a prompt is longer than the LLM's context.
        """
        rows, model = self._rows_of(prompts)
        self._check_length(rows, 1, None)
        return top_next_tokens(model, rows, count, batch_size)

    def differentiable_loglikelihood(
        self, prompts: Sequence[Prompt | str], continuations: Sequence[Prompt | str]
    ) -> Tensor:
        """Log p(continuation | prompt) of B pairs, (B,) float32, natural logarithm.

        Gradients flow through the LLM to the embeddings in the prompts. Its weights get none. All pairs are
        run in one batch, so the caller chooses B by the memory that there is.

        Args:
            prompts: B prompts.
            continuations: B continuations of at least one token each.

        Raises:
            V2LError: a prompt with its continuation is longer than the LLM's context, or a continuation
                holds embeddings, which have no probability.
        """
        return self._differentiable(prompts, continuations).values.sum(dim=1)

    def loss(self, prompts: Sequence[Prompt | str], continuations: Sequence[Prompt | str]) -> Tensor:
        """The training loss of embeddings: the mean of -log p over all tokens of all continuations, a scalar.

        Args:
            prompts: as in `differentiable_loglikelihood`.
            continuations: as in `differentiable_loglikelihood`.

        Raises:
            V2LError: as `differentiable_loglikelihood`.
        """
        tokens = self._differentiable(prompts, continuations)
        return -tokens.values.sum() / tokens.real.sum()

    def reply(self, turns: Sequence[Mapping[str, str]], config: GenerationConfig) -> str:
        """The next turn of a chat; see `v2l.llm.base.LanguageModel`."""
        return self._write([turns_prompt(self, turns)], config)[0]

    def write_answers(self, dialogues: Sequence[Dialogue], config: GenerationConfig) -> list[str]:
        """One answer to each dialogue; see `v2l.llm.base.LanguageModel`."""
        prompts = [dialogue_prompt(self, dialogue) for dialogue in dialogues]
        return [text.strip() for text in self._write(prompts, config)]

    def sample_answers(self, dialogue: Dialogue, config: GenerationConfig, count: int) -> list[str]:
        """`count` sampled answers to one dialogue; the i-th has the seed `config.seed + i`, from 0."""
        return self.write_answers([dialogue] * count, config)

    def _write(self, prompts: Sequence[Prompt], config: GenerationConfig) -> list[str]:
        """The text after each prompt, without a thought before it."""
        return [split_thought(found.text)[1] for found in self.generate(prompts, config)]

    def _differentiable(
        self, prompts: Sequence[Prompt | str], continuations: Sequence[Prompt | str]
    ) -> TokenLoglikelihoods:
        soft = self._soft_tokens(share=False)
        rows = [self._row(prompt, soft) for prompt in prompts]
        answers = [self.encode_pieces(continuation) for continuation in continuations]
        if not rows or len(rows) != len(answers) or not all(answers):
            raise ValueError("each of one prompt or more has a continuation of at least one token")
        for row, ids in zip(rows, answers, strict=True):
            self._check_length([row], len(ids), None)
        return continuation_loglikelihoods(soft.reader(), rows, answers)

    def _soft_tokens(self, share: bool = True) -> SoftTokens:
        return SoftTokens(self.model, self.name, share)

    def _rows_of(
        self, prompts: Sequence[Prompt | str], after: CachedPrefix | None = None
    ) -> tuple[list[list[int]], CausalModel]:
        """The prompts as rows, and the model that reads them."""
        soft = self._soft_tokens()
        return [self._row(prompt, soft, after) for prompt in prompts], soft.reader()

    def _row(self, prompt: Prompt | str, soft: SoftTokens, after: CachedPrefix | None = None) -> list[int]:
        start = () if after else self.start_ids
        row = [*start, *(number for ids in self.each_piece(prompt, soft.number) for number in ids)]
        if not row:
            raise ValueError("a prompt has at least one token")
        return row

    def _check_length(self, rows: Sequence[Row], new: int, after: CachedPrefix | None) -> None:
        before = int(after.lengths.max()) if after else 0
        longest = before + max(map(len, rows), default=0)
        if longest + new > self.context:
            got = f"got a prompt of {longest} tokens and {new} to follow"
            raise V2LError(
                f"{got}, more than the LLM {self.name!r} reads at once",
                f"{self.context} tokens together",
                "fewer examples, or fewer shots, ways, words or repeats",
            )

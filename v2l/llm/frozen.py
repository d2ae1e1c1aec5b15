"""prompt ──► log-likelihoods of continuations, or new tokens; the LLM is frozen.

Every weight stays bit-equal: no gradients, evaluation mode, and no method here that changes one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from v2l.errors import V2LError
from v2l.llm.constraints import Allowed, Weighted
from v2l.llm.generation import Generation, GenerationConfig, Writer, choose_within
from v2l.llm.kv_cache import Context, Row, logits_at, read, read_prompts
from v2l.llm.next_token import likeliest_to_follow
from v2l.llm.scoring import Score, ScoringRequest, score_requests
from v2l.prompts.prompt import Prompt


class FrozenLLM:
    """A causal language model and its tokenizer, never trained.

    Args:
        model: any transformers causal LM whose cache holds keys and values.
        tokenizer: its tokenizer.
        name: what it was loaded as.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.adapter: str | None = None  # what was laid over its weights, by `v2l.llm.adapters`

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.model.device

    @cached_property
    def vocabulary_size(self) -> int:
        """V: token ids run from 0 to V - 1. A model may have rows behind them that no token uses.

        Raises:
            V2LError: the tokenizer has ids that the model does not know.
        """
        tokens, rows = (
            max(self.tokenizer.get_vocab().values()) + 1,
            self.model.get_input_embeddings().num_embeddings,
        )
        if tokens > rows:
            raise V2LError(
                f"the tokenizer of {self.name!r} has {tokens:,} ids and the model knows {rows:,}",
                "a tokenizer with at most as many ids as the model has rows",
                "the model with its own tokenizer: --llm FOLDER",
            )
        return tokens

    @cached_property
    def context(self) -> int:
        """The longest prompt with its continuation, in tokens."""
        return self.model.config.get_text_config().max_position_embeddings

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the tokenizer's vocabulary and merges: the same for every precision of one LLM."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        model = json.loads(backend.to_str())["model"] if backend else {}
        pieces = (
            model["vocab"] if isinstance(model.get("vocab"), list) else []
        )  # Unigram keeps scores in a list
        content = [
            sorted(self.tokenizer.get_vocab().items(), key=lambda item: item[::-1]),
            pieces,
            model.get("merges", []),
        ]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def weights_fingerprint(self) -> str:
        """A hash of all weights' names, shapes and types and of a thousand values of each: another training or precision differs."""
        digest = hashlib.sha256()
        for name, weight in self.model.state_dict().items():
            values = weight.detach().reshape(-1)
            digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
            digest.update(
                values[:: max(1, len(values) // 1000)].cpu().contiguous().view(torch.uint8).numpy().tobytes()
            )
        return digest.hexdigest()[:16]

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The ids that end a text."""
        ids = self.model.generation_config.eos_token_id if self.model.generation_config else None
        listed = ids if isinstance(ids, list) else [ids]
        return frozenset(i for i in [*listed, self.tokenizer.eos_token_id] if i is not None)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids that are marks and no text: beginning, end, padding, roles."""
        added = self.tokenizer.added_tokens_decoder.items()
        return self.end_ids.union(self.tokenizer.all_special_ids, (i for i, token in added if token.special))

    @cached_property
    def start_ids(self) -> tuple[int, ...]:
        """What the LLM's own tokenizer puts before every text: one id (BOS) for LLaMA, none for SmolLM2."""
        with_start, without = (
            self.tokenizer("a", add_special_tokens=special)["input_ids"] for special in (True, False)
        )
        bos = self.tokenizer.bos_token_id
        return (bos,) if bos is not None and with_start[:1] == [bos] and without[:1] != [bos] else ()

    def encode(self, prompt: Prompt | str) -> list[int]:
        """The ids of a whole prompt: its start, then piece by piece."""
        return [*self.start_ids, *self.encode_pieces(prompt)]

    def encode_pieces(self, prompt: Prompt | str) -> list[int]:
        """The ids of a prompt that stands after others, piece by piece; a tuple's ids are taken as they are."""
        return [token_id for piece in self._each_piece(prompt) for token_id in piece]

    def _each_piece(self, prompt: Prompt | str) -> Iterator[Sequence[int]]:
        prompt = Prompt((prompt,)) if isinstance(prompt, str) else prompt
        space = " " if prompt.own_spaces and self._takes_space else ""
        for piece in prompt.pieces:
            if isinstance(piece, str):
                text = space + piece if piece.startswith(" ") else piece
                yield self.tokenizer(text, add_special_tokens=False)["input_ids"]
            else:
                yield piece

    def places(self, prompt: Prompt, pieces: Sequence[int]) -> list[int]:
        """Where some pieces of a whole prompt end: places in the ids of `encode`."""
        ends = list(accumulate((len(ids) for ids in self._each_piece(prompt)), initial=len(self.start_ids)))
        return [ends[number + 1] - 1 for number in pieces]

    @cached_property
    def _takes_space(self) -> bool:
        """Whether the tokenizer takes a text's first space for the one that it puts in front of every text."""
        bare, spaced = (self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", " a"))
        return bare == spaced

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, special tokens included, nothing tidied."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def piece(self, token_id: int) -> str | None:
        """A token as the tokenizer's file writes it ("Ġdog", "▁dog", "<0x0A>"); None for an id that it leaves out."""
        return self.tokenizer.convert_ids_to_tokens(token_id)

    def surface(self, token_id: int) -> str:
        """How a token reads inside a text, with the space that belongs to it (" dog"), which decoding it alone may drop."""
        ids, text = self._anchor
        return self.decode([*ids, token_id])[len(text) :]

    @cached_property
    def _anchor(self) -> tuple[list[int], str]:
        ids = self.encode_pieces("a")
        return ids, self.decode(ids)

    @torch.inference_mode()
    def read(self, prompt: Prompt | str) -> Context:
        """Read a prompt once, so that many can continue it (`after=` below)."""
        ids = self._ids(prompt)
        self._check_length([ids], 0, None)
        return read(self.model, [ids]).context

    @torch.inference_mode()
    def loglikelihood(
        self,
        requests: Sequence[tuple[Prompt | str, Sequence[Prompt | str]]],
        batch_size: int = 8,
        after: Context | None = None,
    ) -> list[list[Score]]:
        """Judge every continuation of every prompt: log p(continuation | prompt), from a float32 log-softmax.

        Args:
            requests: prompts, each with its continuations; a continuation owns the space in front of it.
            batch_size: how many prompts are run together; the scores do not depend on it.
            after: a context that all prompts continue.

        Raises:
            V2LError: a prompt with its continuation is longer than the LLM's context.
        """
        encoded = [
            ScoringRequest(self._ids(prompt, after), [self.encode_pieces(choice) for choice in choices])
            for prompt, choices in requests
        ]
        for request in encoded:
            self._check_length([request.prompt], max(map(len, request.continuations), default=0), after)
        return score_requests(self.model, encoded, batch_size, after)

    @torch.inference_mode()
    def generate(
        self, prompts: Sequence[Prompt | str], config: GenerationConfig, after: Context | None = None
    ) -> list[Generation]:
        """Continue every prompt.

        Args:
            prompts: what to continue; ids that all of them begin with are read once.
            config: how new tokens are chosen.
            after: a context that all prompts continue.

        Raises:
            V2LError: a prompt with its new tokens is longer than the LLM's context.
        """
        rows = [self._ids(prompt, after) for prompt in prompts]
        self._check_length(rows, config.max_new_tokens, after)
        return Writer(self.model, self.decode, self.end_ids, config).write(rows, after)

    @torch.inference_mode()
    def read_all(self, prompts: Sequence[Prompt | str]) -> Context:
        """Read several prompts in one pass; `select([i])` is the context of the i-th.

        Raises:
            V2LError: a prompt is longer than the LLM's context.
        """
        rows = [self._ids(prompt) for prompt in prompts]
        self._check_length(rows, 0, None)
        return read_prompts(self.model, rows)

    @torch.inference_mode()
    def generate_mixed(
        self,
        groups: Sequence[Sequence[Prompt | str]],
        weights: Sequence[float],
        config: GenerationConfig,
        after: Sequence[Context | None],
        allowed: Sequence[Allowed] | None = None,
    ) -> list[Generation]:
        """Write one continuation for each group of K prompts, every token chosen by all of them together.

        Args:
            groups: K prompts each.
            weights: K numbers: a token's score is the weighted sum of its log-probabilities after the K prompts.
            config: how new tokens are chosen.
            after: K contexts or None; the k-th prompt of every group continues the k-th.
            allowed: what the continuation of each group is held to, instead of what the config says for all.

        Raises:
            V2LError: a prompt with its new tokens is longer than the LLM's context.
        """
        rows = [
            [self._ids(prompt, context) for prompt, context in zip(group, after, strict=True)]
            for group in groups
        ]
        for k, context in enumerate(after):
            self._check_length([group[k] for group in rows], config.max_new_tokens, context)
        return Writer(self.model, self.decode, self.end_ids, config).write_mixed(
            rows, weights, after, allowed
        )

    @torch.inference_mode()
    def answer(
        self, prompt: Prompt, pieces: Sequence[int], allowed: Sequence[Weighted], config: GenerationConfig
    ) -> list[Generation]:
        """One token behind each of some pieces of a prompt that is read once, whatever stands there in the prompt itself.

        Args:
            prompt: the whole prompt.
            pieces: numbers of the pieces that are answered.
            allowed: what may be the answer to each.
            config: how it is chosen; the i-th answer draws with seed + i.

        Raises:
            V2LError: the prompt is longer than the LLM's context.
        """
        ids = self.encode(prompt)
        self._check_length([ids], 0, None)
        logprobs = logits_at(self.model, ids, self.places(prompt, pieces)).log_softmax(dim=-1)
        answers = (
            choose_within(row, one, config, number)
            for number, (row, one) in enumerate(zip(logprobs, allowed, strict=True))
        )
        return [Generation((token,), self.decode([token]), loglikelihood) for token, loglikelihood in answers]

    @torch.inference_mode()
    def next_tokens(
        self, prompts: Sequence[Prompt | str], count: int = 1, batch_size: int = 128
    ) -> list[tuple[int, ...]]:
        """The `count` likeliest next token ids of each prompt, likeliest first, the end of text included; 1 is the greedy choice.

        Raises:
            V2LError: a prompt is longer than the LLM's context.
        """
        rows = [self._ids(prompt) for prompt in prompts]
        self._check_length(rows, 1, None)
        return likeliest_to_follow(self.model, rows, count, batch_size)

    def _ids(self, prompt: Prompt | str, after: Context | None = None) -> list[int]:
        ids = self.encode_pieces(prompt) if after else self.encode(prompt)
        if not ids:
            raise ValueError("a prompt has at least one token")
        return ids

    def _check_length(self, rows: Sequence[Row], new: int, after: Context | None) -> None:
        before = int(after.lengths.max()) if after else 0
        longest = before + max(map(len, rows), default=0)
        if longest + new > self.context:
            raise V2LError(
                f"got a prompt of {longest} tokens and {new} to follow, more than the LLM {self.name!r} reads at once",
                f"{self.context} tokens together",
                "fewer examples, or fewer shots, ways, words or repeats",
            )

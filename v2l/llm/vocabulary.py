"""text ⇄ token ids, by the LLM's own tokenizer; surfaces, special ids, the vocabulary's fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

from transformers import PreTrainedTokenizerBase

from v2l.errors import V2LError
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt, refuse_embeddings


class Vocabulary:
    """The tokens of one LLM.

    Args:
        tokenizer: the LLM's tokenizer.
        name: what the LLM was loaded as.
        rows: how many token ids the model has embeddings for.
        end_ids: the ids that end a text by the model's own settings.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, name: str, rows: int, end_ids: Iterable[int] = ()
    ) -> None:
        self.tokenizer = tokenizer
        self.name = name
        self._rows = rows
        self._model_end_ids = tuple(end_ids)

    @cached_property
    def vocabulary_size(self) -> int:
        """V: token ids run from 0 to V - 1. A model may have rows behind them that no token uses.

        Raises:
            V2LError: the tokenizer has ids for which the model has no row.
        """
        tokens = max(self.tokenizer.get_vocab().values()) + 1
        if tokens > self._rows:
            raise V2LError(
                f"the tokenizer of {self.name!r} has {tokens:,} ids and the model knows {self._rows:,}",
                "a tokenizer with at most as many ids as the model has rows",
                "the model with its own tokenizer: --llm FOLDER",
            )
        return tokens

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the tokenizer's vocabulary and merges: the same for every precision of one LLM."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        model = json.loads(backend.to_str())["model"] if backend else {}
        # Unigram keeps its pieces with their scores in a list; get_vocab() leaves the scores out.
        pieces = model["vocab"] if isinstance(model.get("vocab"), list) else []
        by_id = sorted(self.tokenizer.get_vocab().items(), key=lambda item: item[::-1])
        content = json.dumps([by_id, pieces, model.get("merges", [])], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """The ids that end a text."""
        ids = [*self._model_end_ids, self.tokenizer.eos_token_id]
        return frozenset(token_id for token_id in ids if token_id is not None)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids that are marks and not text: beginning, end, padding, roles."""
        added = self.tokenizer.added_tokens_decoder.items()
        special = (token_id for token_id, token in added if token.special)
        return self.end_ids.union(self.tokenizer.all_special_ids, special)

    @cached_property
    def start_ids(self) -> tuple[int, ...]:
        """What the tokenizer puts before every text: one id (BOS) for LLaMA, none for SmolLM2."""
        with_start: list[int] = self.tokenizer("a", add_special_tokens=True)["input_ids"]
        without = self._encode_text("a")
        bos = self.tokenizer.bos_token_id
        return (bos,) if bos is not None and with_start[:1] == [bos] and without[:1] != [bos] else ()

    def encode(self, prompt: Prompt | str) -> list[int]:
        """The ids of a whole prompt: its start, then piece by piece.

        Raises:
            V2LError: the prompt holds embeddings, which have no ids.
        """
        return [*self.start_ids, *self.encode_pieces(prompt)]

    def encode_pieces(self, prompt: Prompt | str) -> list[int]:
        """The ids of a prompt that continues another one, piece by piece, without a start.

        Raises:
            V2LError: the prompt holds embeddings, which have no ids.
        """
        if isinstance(prompt, Prompt):
            refuse_embeddings(prompt, "the tokenizer")
        return [token_id for ids in self.each_piece(prompt, _no_ids) for token_id in ids]

    def each_piece(
        self, prompt: Prompt | str, embedded: Callable[[Embeddings], Sequence[int]]
    ) -> Iterator[Sequence[int]]:
        """The ids of each piece of a prompt.

        Args:
            prompt: any prompt.
            embedded: gives the ids of a piece of embeddings, one for each vector.
        """
        prompt = Prompt((prompt,)) if isinstance(prompt, str) else prompt
        space = " " if prompt.own_spaces and self._drops_first_space else ""
        for piece in prompt.pieces:
            if isinstance(piece, str):
                yield self._encode_text(space + piece if piece.startswith(" ") else piece)
            else:
                yield embedded(piece) if isinstance(piece, Embeddings) else piece

    def count(self, prompt: Prompt | str) -> int:
        """The tokens of a whole prompt with its start; each vector of its embeddings is one."""
        pieces = self.each_piece(prompt, lambda piece: range(len(piece)))
        return len(self.start_ids) + sum(len(ids) for ids in pieces)

    def places(self, prompt: Prompt, pieces: Sequence[int]) -> list[int]:
        """The positions of the last tokens of some pieces, in the whole prompt.

        Args:
            prompt: any prompt.
            pieces: numbers of its pieces.
        """
        lengths = [len(ids) for ids in self.each_piece(prompt, lambda piece: range(len(piece)))]
        ends = list(accumulate(lengths, initial=len(self.start_ids)))
        return [ends[number + 1] - 1 for number in pieces]

    @cached_property
    def _drops_first_space(self) -> bool:
        """Whether "a" and " a" have the same ids, because the tokenizer adds a space where there is none."""
        return self._encode_text("a") == self._encode_text(" a")

    def _encode_text(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids, special tokens included, exactly as the tokenizer gives it."""
        text: Any = self.tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)

    def piece(self, token_id: int) -> str | None:
        """A token as the tokenizer's file writes it ("Ġdog", "▁dog", "<0x0A>"); None for an unused id."""
        piece: Any = self.tokenizer.convert_ids_to_tokens(token_id)
        return None if piece is None else str(piece)

    def surface(self, token_id: int) -> str:
        """The text of a token inside a sentence, with its leading space (" dog").

        Decoding the token alone may drop that space, so it is decoded behind an "a", which is cut off again.
        """
        ids, text = self._anchor
        return self.decode([*ids, token_id])[len(text) :]

    @cached_property
    def _anchor(self) -> tuple[list[int], str]:
        ids = self.encode_pieces("a")
        return ids, self.decode(ids)


def _no_ids(piece: Embeddings) -> Sequence[int]:
    raise ValueError(f"{piece} has no token ids")

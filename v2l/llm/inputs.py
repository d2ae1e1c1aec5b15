"""token ids and embeddings ──► rows of numbers, and the model that reads them; rows ──► batches.

Inside one call, each vector of a prompt has a number of its own, like a token id: the k-th vector is -1 - k.
Rows of such numbers are compared, split, padded and batched like any other ids. A call without vectors passes
its `input_ids` to the LLM unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from v2l.errors import V2LError
from v2l.prompts.embeddings import Embeddings

Row = Sequence[int]


class CausalModel(Protocol):
    """What the functions of this folder need of a causal LM."""

    @property
    def device(self) -> torch.device:
        """Where the inputs must be."""

    def __call__(self, *, input_ids: Tensor, **options: Any) -> Any:
        """One pass; the result has `logits`."""


class SoftTokens:
    """The vectors of all prompts of one call.

    Args:
        model: the LLM that will read them.
        name: of the LLM, for errors.
        share: give equal pieces the same numbers, so that prompts with a common beginning share it. Off while
            gradients are wanted, because each piece must get its own gradient.
    """

    def __init__(self, model: PreTrainedModel, name: str, share: bool = True) -> None:
        self._model, self._name, self._share = model, name, share
        self._vectors: list[Tensor] = []  # (N_i, width) each
        self._numbers: dict[bytes, range] = {}  # hash of a piece's values ──► its numbers
        self._count = 0

    def number(self, piece: Embeddings) -> range:
        """The numbers of a piece's N vectors.

        Raises:
            V2LError: the vectors have another width than the LLM's, are no floats, or are not finite.
        """
        vectors = self._checked(piece)
        key = content_hash(vectors) if self._share else b""
        if key in self._numbers:
            return self._numbers[key]
        numbers = range(-1 - self._count, -1 - self._count - len(vectors), -1)
        self._vectors.append(vectors)
        self._count += len(vectors)
        if self._share:
            self._numbers[key] = numbers
        return numbers

    def reader(self) -> CausalModel:
        """The LLM itself when there are no vectors, or one that replaces their numbers by the vectors."""
        return EmbeddingReader(self._model, torch.cat(self._vectors)) if self._vectors else self._model

    def _checked(self, piece: Embeddings) -> Tensor:
        """(N, width) in the LLM's precision and on its device."""
        weight = embedding_weight(self._model)
        values = torch.as_tensor(piece.values)
        reader = f"the LLM {self._name!r} reads"
        if values.shape[1] != weight.shape[1]:
            raise V2LError(
                f"{piece} have the width {values.shape[1]}",
                f"{weight.shape[1]}, which {reader}",
                "an adapter that was trained for this LLM",
            )
        if not values.is_floating_point():
            raise V2LError(f"{piece} are of type {values.dtype}", f"floating point, which {reader}")
        vectors = values.to(device=weight.device, dtype=weight.dtype)
        if not bool(vectors.isfinite().all()):
            raise V2LError(f"{piece} hold NaN or infinite values in {weight.dtype}", "finite values")
        return vectors


class EmbeddingReader:
    """A causal LM that reads vectors in place of negative ids.

    Args:
        model: the LLM.
        vectors: (M, width); the id -1 - k stands for the k-th.
    """

    def __init__(self, model: PreTrainedModel, vectors: Tensor) -> None:
        self.model, self.vectors = model, vectors

    @property
    def device(self) -> torch.device:
        """Where the LLM is."""
        return torch.device(self.model.device)

    def __call__(self, *, input_ids: Tensor, **options: Any) -> Any:
        """One pass over ids (B, L); gradients flow to the vectors."""
        soft = input_ids < 0
        if not bool(soft.any()):
            return self.model(input_ids=input_ids, **options)
        # The embedding layer itself is called, because some models scale its output inside it (Gemma).
        embedded = self.model.get_input_embeddings()(input_ids.clamp(min=0))  # (B, L, width)
        embedded = embedded.index_put((soft,), self.vectors[-1 - input_ids[soft]])
        return self.model(inputs_embeds=embedded, **options)


def embedding_weight(model: PreTrainedModel) -> Tensor:
    """(V, width): the weight of the input embedding; V counts the model's rows."""
    embedding: Any = model.get_input_embeddings()
    weight: Tensor = embedding.weight
    return weight


def content_hash(values: Tensor) -> bytes:
    """A hash of values and shape, on any device and of any type."""
    flat = values.detach().contiguous().cpu().view(torch.uint8).numpy()
    return hashlib.sha256(flat.tobytes() + str(tuple(values.shape)).encode()).digest()


def batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Row numbers, at most `size` at a time, shortest rows first, so that there is little padding.

    Raises:
        ValueError: the size is below 1.
    """
    if size < 1:
        raise ValueError(f"got batch size {size}, allowed: 1 and more")
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    for start in range(0, len(order), size):
        yield order[start : start + size]

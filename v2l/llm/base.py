"""the contract of a language model: what every one can do, and what only a local one can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from v2l.llm.generation import GenerationConfig
from v2l.llm.scoring import Score
from v2l.prompts.dialogue import Dialogue
from v2l.prompts.prompt import Prompt


class LanguageModel(Protocol):
    """A local LLM or a server's: it writes text.

    A task that needs no more takes this type and does not test for a class. A server refuses prompts with
    embeddings by `v2l.prompts.prompt.refuse_embeddings`.
    """

    @property
    def name(self) -> str:
        """What people call it."""

    def describe(self) -> dict[str, Any]:
        """`llm`, `llm_fingerprint` (None where it is unknown), and what else a report needs."""

    def reply(self, turns: Sequence[Mapping[str, str]], config: GenerationConfig) -> str:
        """The next turn of a chat.

        Args:
            turns: `role` (user, assistant) and `content` of each; the last one is the user's.
            config: length, temperature, seed and stop texts of the answer.
        """

    def write_answers(self, dialogues: Sequence[Dialogue], config: GenerationConfig) -> list[str]:
        """One answer to each dialogue, without the space around it.

        Raises:
            V2LError: a dialogue is too long, holds what the LLM cannot read, or the server does not answer.
        """

    def sample_answers(self, dialogue: Dialogue, config: GenerationConfig, count: int) -> list[str]:
        """`count` answers to one dialogue, each sampled with a seed of its own.

        Raises:
            V2LError: as `write_answers`.
        """


class LocalLanguageModel(LanguageModel, Protocol):
    """A language model whose probabilities and input embeddings are at hand."""

    @property
    def fingerprint(self) -> str:
        """sha256 of its vocabulary."""

    @property
    def embedding_width(self) -> int:
        """The width of its input embeddings, and so of `Embeddings` in its prompts."""

    def input_embeddings(self, ids: Sequence[int]) -> Tensor:
        """(N, width): its own vectors of N token ids."""

    def loglikelihood(
        self, requests: Sequence[tuple[Prompt | str, Sequence[Prompt | str]]], batch_size: int = 8
    ) -> list[list[Score]]:
        """Log p(continuation | prompt) of every continuation of every prompt."""

    def loss(self, prompts: Sequence[Prompt | str], continuations: Sequence[Prompt | str]) -> Tensor:
        """The mean negative log-likelihood per token, with gradients for the embeddings of the prompts."""

"""a checkpoint and an LLM ──► the two, checked to speak the same vocabulary, loaded once for every task.

Source: V2L Tokenizer, arXiv 2403.07874, section 3: the LLM enters only here, after the images have become its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from v2l.encoders.base import fingerprint_of
from v2l.errors import V2LError
from v2l.llm import FrozenLLM, load_llm
from v2l.llm.adapters import adapted
from v2l.tokenizers.grid.model import V2LTokenizer


@dataclass(frozen=True)
class LLMChoice:
    """Which LLM, where and how precise; see `load_llm`."""

    name: str
    device: str = "auto"
    dtype: str = "auto"

    def load(self) -> FrozenLLM:
        """The LLM itself."""
        return load_llm(self.name, self.device, self.dtype)


class Pipeline:
    """Everything a task needs.

    Args:
        tokenizer: images ⇄ tokens.
        llm: a frozen LLM, or the choice of one, which is loaded when it is first needed.
        checkpoint: where the tokenizer comes from, for reports.
        adapter: a LoRA adapter of that LLM and these codebooks; None leaves the LLM as it is.

    Example:
        >>> pipeline = Pipeline.load()
        >>> pipeline.describe()["llm"]
        'smollm2'
    """

    def __init__(
        self,
        tokenizer: V2LTokenizer,
        llm: FrozenLLM | LLMChoice,
        checkpoint: str = "in memory",
        adapter: str | Path | None = None,
    ) -> None:
        self.tokenizer, self.checkpoint, self.adapter = tokenizer, checkpoint, adapter
        self._llm = llm

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        llm: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        adapter: str | Path | None = None,
    ) -> Self:
        """Load a checkpoint, and name an LLM.

        Args:
            checkpoint: a directory; None is the checkpoint that ships.
            llm: a name that `load_llm` takes; None is the LLM whose words the checkpoint holds.
            device: "auto" or a torch device.
            dtype: of the frozen LLM; the tokenizer stays in float32.
            adapter: what `v2l train-lora` wrote, or None.

        Raises:
            V2LError: the checkpoint is missing or damaged.
        """
        tokenizer = V2LTokenizer.from_pretrained(checkpoint, device)
        name = llm or tokenizer.local_codebook.source.llm
        return cls(
            tokenizer, LLMChoice(name, device, dtype), str(checkpoint) if checkpoint else "shipped", adapter
        )

    @cached_property
    def llm(self) -> FrozenLLM:
        """The frozen LLM.

        Raises:
            V2LError: it is not on this machine, the checkpoint's codebooks hold the words of another LLM, or the adapter does not fit.
        """
        llm = self._llm.load() if isinstance(self._llm, LLMChoice) else self._llm
        source = self.tokenizer.local_codebook.source
        if llm.fingerprint != source.llm_fingerprint:
            raise V2LError(
                f"the LLM {llm.name!r} has the vocabulary {llm.fingerprint}",
                f"{source.llm!r} with the vocabulary {source.llm_fingerprint}, whose words the checkpoint's codebooks hold",
                f"v2l build-codebook --llm {llm.name}, or --llm {source.llm}",
            )
        if self.adapter is not None:
            return adapted(llm, self.adapter, self.codebook_fingerprint)
        return llm

    @cached_property
    def codebook_fingerprint(self) -> str:
        """Of the local words and of how cells choose among them, which is what an adapter has learned to speak."""
        return fingerprint_of(
            {"token_ids": self.tokenizer.local_codebook.token_ids, **self.tokenizer.quantizer.state_dict()}
        )

    def describe(self) -> dict[str, Any]:
        """Names and fingerprints of encoder, LLM and checkpoint: the `stack` of every report."""
        source = self.tokenizer.local_codebook.source
        return {
            "checkpoint": self.checkpoint,
            "llm": source.llm,
            "llm_fingerprint": source.llm_fingerprint,
            **self.tokenizer.describe(),
            **({"adapter": str(self.adapter)} if self.adapter is not None else {}),
        }

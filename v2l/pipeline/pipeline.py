"""a tokenizer and an LLM ──► the two, checked to have one vocabulary, loaded once for every task.

Source: V2L Tokenizer, arXiv 2403.07874, section 3: the LLM enters only here, after the images have become its
    words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.llm import FrozenLLM, load_llm
from v2l.llm.adapters import adapted
from v2l.prompts.trained import OLDER_PROMPTS, TRAINED_PROMPTS
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.needs import refusal, require_grid_codes
from v2l.tokenizers.registry import tokenizer_names

DEFAULT_LLM = "smollm2"  # for tokenizers that fit any LLM


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
    """A tokenizer, a frozen LLM, and optionally a LoRA adapter: what every task runs on.

    Args:
        tokenizer: any tokenizer of the family; a task refuses one that lacks what it needs.
        llm: a frozen LLM, or the choice of one, which is loaded at its first use; None if a server answers.
        checkpoint: where the tokenizer comes from, for reports.
        adapter: a LoRA adapter of that LLM and these codes; None leaves the LLM as it is.

    Example:
        >>> pipeline = Pipeline.load()
        >>> pipeline.describe()["llm"]
        'smollm2'
    """

    def __init__(
        self,
        tokenizer: ImageTokenizer,
        llm: FrozenLLM | LLMChoice | None,
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
        """Load a tokenizer, and name an LLM.

        Args:
            checkpoint: a tokenizer's name or the directory of its checkpoint, as in `load_tokenizer`; None is
                the V2L grid that ships.
            llm: a name that `load_llm` takes; None is the LLM that the tokenizer belongs to.
            device: "auto" or a torch device.
            dtype: of the frozen LLM; the tokenizer stays in float32.
            adapter: what `v2l train-lora` wrote, or None.

        Raises:
            V2LError: the tokenizer is unknown, or its checkpoint is missing or damaged.
        """
        tokenizer = load_tokenizer(checkpoint, device)
        name = llm or (tokenizer.vocabulary.llm if tokenizer.vocabulary else DEFAULT_LLM)
        place = "shipped" if checkpoint is None or checkpoint in tokenizer_names() else str(checkpoint)
        return cls(tokenizer, LLMChoice(name, device, dtype), place, adapter)

    @property
    def grid(self) -> V2LTokenizer:
        """The tokenizer, if it writes an image as a grid of the LLM's token ids, as restoration needs it.

        Raises:
            V2LError: it is another one.
        """
        require_grid_codes(self.tokenizer, "this command")
        if not isinstance(self.tokenizer, V2LTokenizer):
            raise refusal(self.tokenizer.NAME, "grid codes", "this command")
        return self.tokenizer

    @property
    def joint_encoder(self) -> JointEncoder:
        """The frozen joint encoder of images and texts behind the tokenizer's words.

        Raises:
            V2LError: the tokenizer has none.
        """
        if self.tokenizer.tagger is None:
            raise V2LError(
                f"the tokenizer {self.tokenizer.NAME!r} has no joint encoder of images and texts",
                "a tokenizer that has one",
                "--tokenizer v2l",
            )
        return self.tokenizer.tagger.joint_encoder(self.tokenizer.device)

    @cached_property
    def llm(self) -> FrozenLLM:
        """The frozen LLM.

        Raises:
            V2LError: there is none on this machine, tokenizer or adapter belong to another LLM, or soft
                tokens to other prompts.
        """
        if self._llm is None:
            raise V2LError("this pipeline has no LLM of its own", "a pipeline with an LLM", "--llm smollm2")
        llm = self._llm.load() if isinstance(self._llm, LLMChoice) else self._llm
        vocabulary = self.tokenizer.vocabulary
        if vocabulary is not None and llm.fingerprint != vocabulary.fingerprint:
            raise V2LError(
                f"the LLM {llm.name!r} has the vocabulary {llm.fingerprint}",
                f"{vocabulary.llm!r} with the vocabulary {vocabulary.fingerprint}, as the tokenizer needs",
                f"v2l build-codebook --llm {llm.name}, or --llm {vocabulary.llm}",
            )
        check_prompts(self.tokenizer)
        if self.adapter is not None:
            return adapted(llm, self.adapter, self.codebook_fingerprint)
        return llm

    @cached_property
    def codebook_fingerprint(self) -> str:
        """Hash of the local words and the trained quantizer, to which a LoRA adapter is bound."""
        return self.grid.code_fingerprint

    def describe(self) -> dict[str, Any]:
        """Names and fingerprints of tokenizer, encoder and LLM: the `stack` of every report. It loads no LLM.

        `llm` is the LLM that was chosen. `llm_weights` is its `weights_fingerprint`, which is there once the
        LLM is loaded. Two LLMs with one vocabulary (LLaMA-2 7B and 13B) differ in it, and so do two
        precisions.
        """
        vocabulary = self.tokenizer.vocabulary
        fingerprint = self.llm.fingerprint if self._is_loaded else vocabulary and vocabulary.fingerprint
        return {
            "checkpoint": self.checkpoint,
            "llm": None if self._llm is None else self._llm.name,
            "llm_fingerprint": fingerprint,
            **({"llm_weights": self.llm.weights_fingerprint} if self._is_loaded else {}),
            **self.tokenizer.describe(),
            **({"adapter": str(self.adapter)} if self.adapter is not None else {}),
        }

    def identity(self) -> dict[str, Any]:
        """As `describe`, with the LLM loaded first: what must be equal when an evaluation is resumed.

        Raises:
            V2LError: as for `llm`.
        """
        _ = self.llm  # from now on `describe` names its weights
        return self.describe()

    @property
    def _is_loaded(self) -> bool:
        """Whether `llm` was used; a FrozenLLM that was passed in is checked only then, too."""
        return "llm" in vars(self)


def check_prompts(tokenizer: ImageTokenizer) -> None:
    """Refuse an adapter in front of other prompts than those that it was trained with.

    Raises:
        V2LError: as said.
    """
    trained_with = tokenizer.describe().get("prompts", TRAINED_PROMPTS)
    if trained_with != TRAINED_PROMPTS:
        raise V2LError(
            f"the adapter {tokenizer.NAME!r} was trained with the prompts {trained_with or OLDER_PROMPTS}",
            f"the prompts of this version, {TRAINED_PROMPTS}",
            "v2l train-sam" if tokenizer.NAME == "sam" else "v2l train-adapter",
        )

"""a codebook ──► the frozen models that an adapter stands between."""

from __future__ import annotations

from dataclasses import dataclass

from v2l.codebook.codebook import Codebook
from v2l.encoders import JointEncoder, load_encoder
from v2l.llm import FrozenLLM, load_llm


@dataclass(frozen=True)
class AdapterModels:
    """What an adapter stands between.

    Attributes:
        encoder: the frozen joint encoder.
        llm: the frozen LLM.
        codebook: words in the encoder's space; SEA and the readable words come from it.
    """

    encoder: JointEncoder
    llm: FrozenLLM
    codebook: Codebook

    @classmethod
    def load(
        cls, codebook: Codebook, llm: str | None = None, device: str = "auto", dtype: str = "auto"
    ) -> AdapterModels:
        """Load the encoder and, by default, the LLM that a codebook belongs to.

        Raises:
            V2LError: one of them is not on this machine, or the encoder is not the codebook's.
        """
        encoder = load_encoder(codebook.source.encoder, device)
        codebook.require_encoder(encoder)
        return cls(encoder, load_llm(llm or codebook.source.llm, device, dtype), codebook)

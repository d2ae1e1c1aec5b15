"""a config ──► the quantizer that it names."""

from __future__ import annotations

from torch import Tensor

from v2l.config import ModelConfig, TrainingConfig
from v2l.errors import V2LError
from v2l.tokenizers.quantizers.base import Quantizer
from v2l.tokenizers.quantizers.ema_vq import AveragedQuantizer
from v2l.tokenizers.quantizers.frozen_words import LocalQuantizer
from v2l.tokenizers.quantizers.vq import LearnedQuantizer


def build_quantizer(network: ModelConfig, training: TrainingConfig, embeddings: Tensor) -> Quantizer:
    """The quantizer that a config names, with as many entries as there are words.

    Args:
        network: which quantizer, and the width of the lookup.
        training: weights of the two loss terms, and when dead codes are moved.
        embeddings: (V, D) the words' vectors; only the quantizer "words" uses more than their number.

    Raises:
        V2LError: there is no such quantizer.
    """
    size, width = len(embeddings), network.lookup_dim
    weights, restart = (training.commitment_weight, training.codebook_weight), training.restart_after
    match network.quantizer:
        case "words":
            return LocalQuantizer(embeddings, width, *weights, network.projection)
        case "averaged":
            return AveragedQuantizer(size, width, training.commitment_weight, restart)
        case "learned":
            return LearnedQuantizer(size, width, *weights, cosine=False, restart_after=restart)
        case "cosine":
            return LearnedQuantizer(size, width, *weights, cosine=True, restart_after=restart)
    raise V2LError(f"got the quantizer {network.quantizer!r}", "words, averaged, learned, cosine")

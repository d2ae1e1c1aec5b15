"""config ──► the quantizer that it names."""

from __future__ import annotations

from torch import Tensor

from v2l.config import ModelConfig, TrainingConfig
from v2l.errors import V2LError
from v2l.tokenizers.quantizers.base import Quantizer
from v2l.tokenizers.quantizers.ema_vq import AveragedQuantizer
from v2l.tokenizers.quantizers.frozen_words import LocalQuantizer
from v2l.tokenizers.quantizers.vq import LearnedQuantizer


def build_quantizer(network: ModelConfig, training: TrainingConfig, embeddings: Tensor) -> Quantizer:
    """Build the quantizer that a config names, with one entry per word.

    Args:
        network: names the quantizer and sets d, the width of the entries.
        training: weights of the two loss terms, and the number of steps before a dead code is replaced.
        embeddings: (V, D) float32 text embeddings of the words. Only the quantizer "words" uses their values.
            The others use their number V.

    Raises:
        V2LError: the config names an unknown quantizer.
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

"""prompts ──► log-likelihoods and new tokens, by a frozen LLM of transformers.

Nothing here changes a weight. A common prefix of prompts is read once; see `kv_cache.py`.
"""

from __future__ import annotations

from v2l.llm.base import LanguageModel, LocalLanguageModel
from v2l.llm.constraints import (
    PositionIds,
    PositionMask,
    Trie,
    WeightedIds,
)
from v2l.llm.frozen import FrozenLLM
from v2l.llm.generation import Generation, GenerationConfig
from v2l.llm.kv_cache import CachedPrefix
from v2l.llm.loading import load_llm
from v2l.llm.scoring import Score
from v2l.llm.vocabulary import Vocabulary

__all__ = [
    "CachedPrefix",
    "FrozenLLM",
    "Generation",
    "GenerationConfig",
    "LanguageModel",
    "LocalLanguageModel",
    "PositionIds",
    "PositionMask",
    "Score",
    "Trie",
    "Vocabulary",
    "WeightedIds",
    "load_llm",
]

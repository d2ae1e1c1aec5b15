"""prompts ──► log-likelihoods and new tokens, by a frozen LLM: the door of transformers.

Nothing here changes a weight. A prompt that many share is read once; see `context.py`.
"""

from __future__ import annotations

from v2l.llm.constraints import PlaceMask, Places, Trie, Weighted
from v2l.llm.frozen import FrozenLLM
from v2l.llm.generation import Generation, GenerationConfig
from v2l.llm.kv_cache import Context
from v2l.llm.loading import load_llm
from v2l.llm.scoring import Score

__all__ = [
    "Context",
    "FrozenLLM",
    "Generation",
    "GenerationConfig",
    "PlaceMask",
    "Places",
    "Score",
    "Trie",
    "Weighted",
    "load_llm",
]

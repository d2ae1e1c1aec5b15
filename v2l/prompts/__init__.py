"""tokens and embeddings of images ──► prompts: plain data, in pure Python."""

from __future__ import annotations

from v2l.prompts.denoise import denoise_prompt
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.fewshot import FewShotFormat, channel_prompt, fewshot_prompt
from v2l.prompts.prompt import Piece, Prompt, refuse_embeddings

__all__ = [
    "Embeddings",
    "FewShotFormat",
    "Piece",
    "Prompt",
    "channel_prompt",
    "denoise_prompt",
    "fewshot_prompt",
    "refuse_embeddings",
]

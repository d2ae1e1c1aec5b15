"""tokens ──► prompts: plain data, in pure Python."""

from __future__ import annotations

from v2l.prompts.denoise import denoise_prompt
from v2l.prompts.fewshot import FewShotFormat, channel_prompt, fewshot_prompt
from v2l.prompts.prompt import Piece, Prompt

__all__ = ["Piece", "Prompt", "FewShotFormat", "fewshot_prompt", "channel_prompt", "denoise_prompt"]

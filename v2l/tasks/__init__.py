"""image ──► tokens ──► prompt ──► frozen LLM ──► tokens ──► image: the whole line, once for each task."""

from __future__ import annotations

from v2l.tasks.asking import RestorationSettings
from v2l.tasks.fewshot import FewShotResult, FewShotSettings, evaluate_fewshot, find_episodes
from v2l.tasks.inpaint import Inpainted, inpaint
from v2l.tasks.stack import Stack

__all__ = [
    "Stack",
    "FewShotSettings",
    "FewShotResult",
    "find_episodes",
    "evaluate_fewshot",
    "RestorationSettings",
    "Inpainted",
    "inpaint",
]

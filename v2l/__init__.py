"""image ──► tokens ──► prompt ──► frozen LLM ──► tokens ──► image: images as words of a frozen LLM.

One alphabet, everywhere:
    B images · H, W pixels · h, w token grid · C channels · D codebook width · V codebook entries · G global
    tokens · T prompt length
(K shots and N ways in few-shot tasks). Images are float32 RGB in [0, 1] at every public boundary. The public
names below are loaded when they are first used, so that `import v2l` answers at once.

Source: "Beyond Text: Frozen Large Language Models in Visual Signal Comprehension", CVPR 2024, arXiv
2403.07874.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from v2l.api import ask, caption, decode, encode, inpaint, load, reconstruct, visibility_note, vqa, words
    from v2l.codebook.codebook import Codebook
    from v2l.config import Config, load_config
    from v2l.encoders import JointEncoder, load_encoder
    from v2l.errors import V2LError
    from v2l.images import load_image, save_image
    from v2l.llm import FrozenLLM, load_llm
    from v2l.masks import box_mask, centre_mask, load_mask
    from v2l.pipeline.pipeline import Pipeline
    from v2l.prompts.prompt import Prompt
    from v2l.tokenizers.contract import ImageTokenizer
    from v2l.tokenizers.grid.model import V2LTokenizer
    from v2l.tokenizers.loading import load_tokenizer
    from v2l.tokenizers.registry import register_tokenizer
    from v2l.tokens import ImageTokens, VisualTokens, Word

HOMES = {
    "load": "v2l.api",
    "words": "v2l.api",
    "visibility_note": "v2l.api",
    "reconstruct": "v2l.api",
    "encode": "v2l.api",
    "decode": "v2l.api",
    "inpaint": "v2l.api",
    "caption": "v2l.api",
    "vqa": "v2l.api",
    "ask": "v2l.api",
    "load_tokenizer": "v2l.tokenizers.loading",
    "register_tokenizer": "v2l.tokenizers.registry",
    "ImageTokenizer": "v2l.tokenizers.contract",
    "V2LTokenizer": "v2l.tokenizers.grid.model",
    "VisualTokens": "v2l.tokens",
    "ImageTokens": "v2l.tokens",
    "Word": "v2l.tokens",
    "Pipeline": "v2l.pipeline.pipeline",
    "FrozenLLM": "v2l.llm",
    "load_llm": "v2l.llm",
    "JointEncoder": "v2l.encoders",
    "load_encoder": "v2l.encoders",
    "Codebook": "v2l.codebook.codebook",
    "Prompt": "v2l.prompts.prompt",
    "Config": "v2l.config",
    "load_config": "v2l.config",
    "load_image": "v2l.images",
    "save_image": "v2l.images",
    "load_mask": "v2l.masks",
    "box_mask": "v2l.masks",
    "centre_mask": "v2l.masks",
    "V2LError": "v2l.errors",
}

__all__ = [
    "load",
    "words",
    "visibility_note",
    "reconstruct",
    "encode",
    "decode",
    "inpaint",
    "caption",
    "vqa",
    "ask",
    "load_tokenizer",
    "register_tokenizer",
    "ImageTokenizer",
    "V2LTokenizer",
    "VisualTokens",
    "ImageTokens",
    "Word",
    "Pipeline",
    "FrozenLLM",
    "load_llm",
    "JointEncoder",
    "load_encoder",
    "Codebook",
    "Prompt",
    "Config",
    "load_config",
    "load_image",
    "save_image",
    "load_mask",
    "box_mask",
    "centre_mask",
    "V2LError",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module where it lives."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The module's own names and the public ones."""
    return sorted({*globals(), *__all__})

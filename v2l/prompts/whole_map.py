"""a token map with holes, or a damaged one ──► the prompt of a tuned LLM, whose continuation is the missing tokens.

A whole picture stands in one prompt: its global words, then its local tokens, one reserved token where any is missing. Source: our design
for the masked restoration of the V2L Tokenizer, arXiv 2403.07874, section 4.3, whose recipe is not published.
"""

from __future__ import annotations

from collections.abc import Sequence

from v2l.prompts.prompt import Prompt

INSTRUCTIONS = {
    "mask": "Tell the missing tokens of a picture.\n",
    "deblur": "Tell the sharp tokens of a blurred picture.\n",
    "unshift": "Tell the tokens of a shifted picture in their places.\n",
    "unrotate": "Tell the tokens of a turned picture in their places.\n",
}


def whole_map_prompt(kind: str, words: Sequence[str], ids: Sequence[int]) -> Prompt:
    """The prompt of one picture.

    Args:
        kind: a key of `INSTRUCTIONS`.
        words: its global words.
        ids: h · w token ids in raster order, the reserved one where a token is missing.
    """
    return Prompt((INSTRUCTIONS[kind], f"Picture: {', '.join(words)}\nInput:", tuple(ids), "\nOutput:"))

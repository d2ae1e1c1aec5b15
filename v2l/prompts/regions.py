"""a question that names regions, `<r0>`, `<r1>` … ──► the question with what these regions show.

Source of the proxy words: Groma, arXiv 2404.13013, section 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from v2l.errors import V2LError

NAME = re.compile(r"<r\d+>")


def region_name(number: int) -> str:
    """The proxy word of a region: "<r2>"."""
    return f"<r{number}>"


def named_regions(text: str) -> list[str]:
    """The proxy words in a text, each once, in their order."""
    return list(dict.fromkeys(NAME.findall(text)))


def expand_regions(question: str, words: Sequence[str]) -> str:
    """Write the words of a region behind its proxy word: "What is <r2> sky (top)?".

    The published LLM is trained to look a proxy word up. A frozen one of 135M parameters finds the right line
    rarely.

    Args:
        question: with proxy words, or without.
        words: of the image, as the prompt writes them: "<r0> dog (left)".

    Raises:
        V2LError: a proxy word of the question is not among the words.
    """
    texts = {name: text for text in words for name in named_regions(text)[:1]}
    for name in named_regions(question):
        if name not in texts:
            raise _missing(name, list(texts))
    return NAME.sub(lambda match: texts[match.group()], question)


def _missing(name: str, present: Sequence[str]) -> V2LError:
    """The line for a region that the image does not have."""
    if not present:
        return V2LError(
            f"the question names {name}, and the words of the image have no regions",
            "a tokenizer with regions",
            "--tokenizer groma",
        )
    return V2LError(
        f"the question names {name}, and the image has {len(present)} region(s)",
        f"{present[0]} to {present[-1]}" if len(present) > 1 else present[0],
        "v2l words IMAGE --tokenizer groma",
    )

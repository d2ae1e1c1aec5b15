"""a question that names regions ──► checked against the regions of the image: `<r0>`, `<r1>` …

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


def check_named_regions(question: str, words: Sequence[str]) -> None:
    """Refuse a question about a region that the image does not have.

    Args:
        question: with proxy words, or without.
        words: of the image, as the prompt writes them: "<r0> dog (left)".

    Raises:
        V2LError: a proxy word of the question is not among the words.
    """
    present = named_regions(" ".join(words))
    missing = [name for name in named_regions(question) if name not in present]
    if not missing:
        return
    if not present:
        raise V2LError(
            f"the question names {missing[0]}, and the words of the image have no regions",
            "a tokenizer with regions",
            "--tokenizer groma",
        )
    raise V2LError(
        f"the question names {missing[0]}, and the image has {len(present)} region(s)",
        f"{present[0]} to {present[-1]}" if len(present) > 1 else present[0],
        "v2l words IMAGE --tokenizer groma",
    )

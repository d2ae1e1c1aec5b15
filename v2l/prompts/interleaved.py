"""pictures, texts and references to parts of a picture ──► one prompt that an answer completes.

`tuned` writes a picture as its words and a reference as its phrase with the words and the position of the
part: "What is this thing (sailboat, top right)?". `qwen` has the marks of Qwen-VL (arXiv 2308.12966, section
2.2): `<img>…</img>`, and `<ref>…</ref><box>(x1,y1),(x2,y2)</box>` with coordinates scaled to [0, 1000).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from v2l.errors import V2LError
from v2l.places import Area, Box
from v2l.prompts.prompt import Prompt

SCALE = 1000  # coordinates are whole numbers in [0, SCALE)
INSTRUCTION = "Answer the question about the photos. The words describe what is in each photo.\n\n"
STOP = (".", "\n")
MAX_NEW_TOKENS = 24


@dataclass(frozen=True)
class Picture:
    """An image by its words, as a prompt writes them."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Reference:
    """A part of the picture before it.

    Attributes:
        phrase: what the user calls the part; empty if the part is only pointed at.
        box: left, top, right and bottom in shares of the picture's sides.
        words: of the part; empty if they are not known.
    """

    phrase: str
    box: Box
    words: tuple[str, ...] = ()


Part = str | Picture | Reference


def interleaved_prompt(parts: Sequence[Part], wording: str = "tuned") -> Prompt:
    """The prompt of a request.

    Args:
        parts: texts, pictures and references in their order.
        wording: tuned or qwen.

    Raises:
        V2LError: the wording is unknown, or there is no text that asks something.
    """
    if wording not in WORDINGS:
        raise V2LError(f"got the prompt wording {wording!r}", ", ".join(WORDINGS), "--prompt tuned")
    if not any(isinstance(part, str) and part.strip() for part in parts):
        raise V2LError("got no text that asks something", 'a part like {"text": "What is it?"}')
    write = WORDINGS[wording]
    texts, pictures = [INSTRUCTION if wording == "tuned" else ""], 0
    for part in parts:
        pictures += isinstance(part, Picture)
        text = part if isinstance(part, str) else write(part, pictures)
        starts_line = isinstance(part, Picture) and not texts[-1].endswith("\n") and texts[-1]
        texts.append(f"\n{text}" if starts_line else text)
    return Prompt(("".join(texts).rstrip() + "\nAnswer:",))


def scale_box(box: Box) -> tuple[int, int, int, int]:
    """Shares of the picture's sides ──► whole numbers in [0, 1000)."""
    left, top, right, bottom = (min(SCALE - 1, int(side * SCALE)) for side in box)
    return left, top, right, bottom


def _tuned(part: Picture | Reference, number: int) -> str:
    if isinstance(part, Picture):
        return f"Photo {number}: {', '.join(part.words)}\n"
    inside = ", ".join([*part.words, Area.of_box(part.box).position])
    return f"{part.phrase or 'this'} ({inside})"


def _qwen(part: Picture | Reference, number: int) -> str:
    if isinstance(part, Picture):
        return f"Picture {number}: <img>{', '.join(part.words)}</img>\n"
    x1, y1, x2, y2 = scale_box(part.box)
    phrase = f"<ref>{part.phrase}</ref>" if part.phrase else ""
    return f"{phrase}<box>({x1},{y1}),({x2},{y2})</box>"


WORDINGS: Mapping[str, Callable[[Picture | Reference, int], str]] = {"tuned": _tuned, "qwen": _qwen}

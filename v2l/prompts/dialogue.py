"""answered examples and an open question ──► one dialogue: lines that any LLM continues, or turns for one that knows roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from v2l.errors import V2LError
from v2l.prompts.prompt import Prompt


class Exchange(NamedTuple):
    """One image's words, what is asked about it (nothing for a caption), and the answer (nothing when it is wanted)."""

    words: tuple[str, ...]
    question: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Style:
    """How a dialogue is written, and how much of it unless the user says otherwise.

    Attributes:
        instruction: the first line, with its newline.
        ask: one image and its question, with `{words}` and perhaps `{question}`; no space at its end.
        after: what ends the answer of an example.
        separator: what stands between two words.
        n_words: words an image.
        n_examples: answered examples at most.
        choice: which words, as `v2l.pipeline.image_words.WordSelection` names them.
        turn: the same as a user's turn, where the task shall be asked in turns; empty where lines do better.
    """

    instruction: str
    ask: str
    after: str
    separator: str
    n_words: int
    n_examples: int
    choice: str
    turn: str = ""

    def asked(self, exchange: Exchange, template: str) -> str:
        """An image's words and its question in one of the templates."""
        return template.format(words=self.separator.join(exchange.words), question=exchange.question)


@dataclass(frozen=True)
class Dialogue:
    """What an LLM is asked.

    Attributes:
        style: how it is written.
        examples: with their answers.
        query: without one.
    """

    style: Style
    examples: tuple[Exchange, ...]
    query: Exchange

    @property
    def prompt(self) -> Prompt:
        """The dialogue as lines; the LLM's answer begins with a space."""
        style = self.style
        pieces = [style.instruction]
        for example in self.examples:
            pieces += [style.asked(example, style.ask), f" {example.answer}{style.after}"]
        return Prompt((*pieces, style.asked(self.query, style.ask)))

    @property
    def text(self) -> str:
        """The lines as people read them and paste them into any LLM."""
        return self.prompt.text(str)  # no piece of it is of ids

    @property
    def turns(self) -> list[dict[str, str]]:
        """The dialogue as a chat: `role` and `content` of each turn, the user's last; lines that do better stay one turn."""
        style = self.style
        if not style.turn:
            return [turn("user", self.text)]
        spoken = [
            said
            for example in self.examples
            for said in (turn("user", style.asked(example, style.turn)), turn("assistant", example.answer))
        ]
        return [*spoken, turn("user", style.asked(self.query, style.turn))]


def turn(role: str, content: str) -> dict[str, str]:
    """One turn as chat templates and servers want it."""
    return {"role": role, "content": content}


def find_style(styles: Mapping[str, Style], wording: str) -> Style:
    """The style of a wording.

    Raises:
        V2LError: there is none of this name.
    """
    if wording not in styles:
        raise V2LError(f"got the prompt wording {wording!r}", ", ".join(styles), "--prompt tuned")
    return styles[wording]

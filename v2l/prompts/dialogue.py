"""answered examples and an open question ──► one dialogue: lines for any LLM, or turns for a chat model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from v2l.errors import V2LError
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Piece, Prompt, refuse_embeddings


class Exchange(NamedTuple):
    """An image, a question about it, and the answer.

    Attributes:
        words: of the image, or its embeddings.
        question: empty for a caption.
        answer: empty where the LLM shall write it.
    """

    words: tuple[str, ...] | Embeddings
    question: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Style:
    """How a dialogue is written, and its default length.

    Attributes:
        instruction: the first lines, with their newlines.
        ask: one image and its question, with `{words}` and perhaps `{question}`; no space at its end.
        after: the text after the answer of an example.
        separator: the text between two words.
        n_words: words for each image.
        n_examples: answered examples at most.
        choice: how words are chosen, a name of `v2l.pipeline.image_words.WordSelection`.
        turn: `ask` as a user's turn of a chat; empty where lines give better answers.
    """

    instruction: str
    ask: str
    after: str
    separator: str
    n_words: int
    n_examples: int
    choice: str
    turn: str = ""

    def request(self, exchange: Exchange, template: str) -> tuple[Piece, ...]:
        """An image and its question in one of the templates: one text, or a text around embeddings."""
        words, question = exchange.words, exchange.question
        if not isinstance(words, Embeddings):
            return (template.format(words=self.separator.join(words), question=question),)
        before, after = template.split("{words}")
        # No piece ends in a lone space, since in byte-level vocabularies a space belongs to the next token.
        texts = [before.rstrip(" ").format(question=question), after.format(question=question)]
        return tuple(piece for piece in (texts[0], words, texts[1]) if piece)


@dataclass(frozen=True)
class Dialogue:
    """A request to an LLM, after answered examples.

    Attributes:
        style: how it is written.
        examples: with their answers.
        query: without an answer.
    """

    style: Style
    examples: tuple[Exchange, ...]
    query: Exchange

    @property
    def prompt(self) -> Prompt:
        """The dialogue as lines; the LLM's answer begins with a space."""
        style = self.style
        pieces: list[Piece] = [style.instruction]
        for example in self.examples:
            pieces += [*style.request(example, style.ask), f" {example.answer}{style.after}"]
        return Prompt((*pieces, *style.request(self.query, style.ask)))

    @property
    def text(self) -> str:
        """The lines as people read them and paste them into any LLM."""
        return self.prompt.text(str)  # there is no piece of ids

    @property
    def turns(self) -> list[dict[str, str]]:
        """The dialogue as a chat: `role` and `content` of each turn, the user's last.

        All lines are one turn where lines give better answers.

        Raises:
            V2LError: it holds embeddings, which have no text.
        """
        style = self.style
        refuse_embeddings(self.prompt, "a chat")
        if not style.turn:
            return [turn("user", self.text)]
        turns = []
        for example in self.examples:
            turns += [turn("user", self._turn_text(example)), turn("assistant", example.answer)]
        return [*turns, turn("user", self._turn_text(self.query))]

    def _turn_text(self, exchange: Exchange) -> str:
        return Prompt(self.style.request(exchange, self.style.turn)).text(str)


def turn(role: str, content: str) -> dict[str, str]:
    """One turn in the form of chat templates and servers."""
    return {"role": role, "content": content}


def as_words(words: Sequence[str] | Embeddings) -> tuple[str, ...] | Embeddings:
    """Words as a tuple; embeddings as they are."""
    return words if isinstance(words, Embeddings) else tuple(words)


def find_style(styles: Mapping[str, Style], wording: str) -> Style:
    """The style of a wording.

    Raises:
        V2LError: no style has this name.
    """
    if wording not in styles:
        raise V2LError(f"got the prompt wording {wording!r}", ", ".join(styles), "--prompt tuned")
    return styles[wording]

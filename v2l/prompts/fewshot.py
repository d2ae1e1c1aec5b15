"""words of labelled images and of a query ──► prompts that the query's label, or its words, complete.

There are two directions: from words to a label (the paper's) and from a label to words (the noisy channel's).
Sources: V2L Tokenizer, arXiv 2403.07874, section 4.1; Min et al., arXiv 2108.04106 (noisy channel prompting).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from v2l.errors import V2LError
from v2l.prompts.prompt import Prompt
from v2l.prompts.wording import FEWSHOT, Wording, check_wording

Support = tuple[Sequence[str], str]


@dataclass(frozen=True)
class FewShotFormat:
    """How an episode is written.

    Attributes:
        wording: paper, official (with the official code's bracket slip, pieces and underscores), or tuned.
        induction: whether a first line lists the labels to choose from.
        repeats: how many times the whole support list is repeated; with 0 it occurs once.
        separator: the text between two words; None is the wording's own.
        label_spaces: whether a label is written with spaces or with underscores; None is the wording's own.
        nearest_last: whether an image's words are written in the opposite order.
        lower: whether words are written in lower case.
    """

    wording: str = "paper"
    induction: bool = True
    repeats: int = 0
    separator: str | None = None
    label_spaces: bool | None = None
    nearest_last: bool = False
    lower: bool = False

    def __post_init__(self) -> None:
        check_wording(self.wording)
        if self.repeats < 0:
            raise V2LError(f"got {self.repeats} repeats", "0 repeats and more", "--repeats 0")

    @property
    def marks(self) -> Wording:
        """The texts of the wording."""
        return FEWSHOT[self.wording]

    def listed(self, words: Sequence[str]) -> list[str]:
        """The words of one image in the order and case of the prompt."""
        ordered = words[::-1] if self.nearest_last else words
        return [word.lower() if self.lower else word for word in ordered]

    def words(self, words: Sequence[str]) -> str:
        """The words of one image as one piece, with its leading space; empty without words."""
        separator = self.marks.separator if self.separator is None else self.separator
        return self.marks.space + separator.join(self.listed(words)) if words else ""

    def name(self, label: str) -> str:
        """A label with the wording's spaces or underscores."""
        spaces = self.marks.label_spaces if self.label_spaces is None else self.label_spaces
        return (" " if spaces else "_").join(label.replace("_", " ").split())

    def label(self, label: str) -> str:
        """A label as one piece, with its leading space."""
        return self.marks.space + self.name(label)

    def after_label(self) -> str:
        """The text after a label in the prompt."""
        return self.marks.after_example or self.marks.before_input

    def instruction(self, labels: Sequence[str]) -> str:
        """The first line, which lists the labels in alphabetical order; empty without induction."""
        names = f"' or {self.marks.next_label}'".join(sorted({self.name(label) for label in labels}))
        return (
            f"For each of the following input output pairs, output is one of ['{names}']\n"
            if self.induction
            else ""
        )

    def repeated(self, supports: Sequence[Support]) -> list[Support]:
        """The support list with its repeats."""
        return list(supports) * (self.repeats + 1)


def fewshot_prompt(
    supports: Sequence[Support], query: Sequence[str], format: FewShotFormat | None = None
) -> Prompt:
    """The prompt that the query's label completes.

    Args:
        supports: for each labelled image its words, nearest first, and its label.
        query: the words of the image to classify.
        format: how the prompt is written.

    Returns:
        pieces: instruction, then mark, words, mark and label of each example; `format.label` gives the
        candidate continuations.
    """
    format = format or FewShotFormat()
    marks = format.marks
    pieces = [format.instruction([label for _, label in supports])]
    for words, label in format.repeated(supports):
        pieces += [
            marks.before_input,
            format.words(words),
            marks.before_output,
            format.label(label),
            marks.after_example,
        ]
    return joined([*pieces, marks.before_input, format.words(query), marks.before_output], marks.own_spaces)


def channel_prompt(supports: Sequence[Support], label: str, format: FewShotFormat | None = None) -> Prompt:
    """The prompt that the query's words complete, if `label` is its label.

    Args:
        supports: as in `fewshot_prompt`.
        label: the candidate label, whose words are scored.
        format: how words and labels are written; all lines are "label: words", without the wording's marks.

    Returns:
        pieces: label, colon, words and newline of each example; then the label and a colon; `format.words`
        gives the continuation.
    """
    format = format or FewShotFormat()
    pieces: list[str] = []
    for words, name in format.repeated(supports):
        pieces += [format.name(name), ":", format.words(words), "\n"]
    return joined([*pieces, format.name(label), ":"])


def list_prompt(format: FewShotFormat | None = None) -> Prompt:
    """The prompt that the words of any image complete: the wording's mark before words, and no example."""
    return joined([(format or FewShotFormat()).marks.before_input])


def joined(pieces: Sequence[str], own_spaces: bool = False) -> Prompt:
    """A prompt of all pieces that are not empty."""
    return Prompt(tuple(piece for piece in pieces if piece), own_spaces)


def support_rounds(supports: Sequence[Support]) -> list[list[Support]]:
    """Short support lists with one example of each label; a label with fewer examples repeats them.

    Args:
        supports: labelled images.
    """
    examples: dict[str, list[Support]] = {}
    for support in supports:
        examples.setdefault(support[1], []).append(support)
    rounds = max(map(len, examples.values()), default=0)
    return [[some[number % len(some)] for some in examples.values()] for number in range(rounds)]


def support_orders(supports: Sequence[Support], count: int) -> list[list[Support]]:
    """Orders of the support to average over: as given, reversed, and both of them from other starting points.

    Args:
        supports: labelled images.
        count: how many orders, 1 and more.
    """
    turns = (count + 1) // 2
    orders = []
    for turn in range(turns):
        start = turn * len(supports) // turns
        turned = [*supports[start:], *supports[:start]]
        orders += [turned, turned[::-1]]
    return orders[:count]

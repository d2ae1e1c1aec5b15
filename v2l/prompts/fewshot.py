"""words of labelled images and of a query ──► prompts that name the query.

Two directions: the paper's, from words to a label; and the noisy channel's, from a label to words.
Sources: V2L Tokenizer, arXiv 2403.07874, section 4.1; Min et al., arXiv 2108.04106 (noisy channel prompting).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from v2l.prompts.prompt import Prompt
from v2l.prompts.wording import FEWSHOT, Wording, check_wording

Support = tuple[Sequence[str], str]


@dataclass(frozen=True)
class FewShotFormat:
    """How an episode is written.

    Attributes:
        wording: paper, official (with the official code's bracket slip, pieces and underscores), or tuned.
        induction: whether a first line names the labels to choose from.
        repeats: how often the whole support list is repeated; 0 shows it once.
        separator: what stands between two words; None is the wording's own.
        label_spaces: whether underscores of a label become spaces; None is the wording's own.
    """

    wording: str = "paper"
    induction: bool = True
    repeats: int = 0
    separator: str | None = None
    label_spaces: bool | None = None

    def __post_init__(self) -> None:
        check_wording(self.wording)
        if self.repeats < 0:
            raise ValueError(f"got {self.repeats} repeats, allowed: 0 and more")

    @property
    def marks(self) -> Wording:
        """The wording's own texts."""
        return FEWSHOT[self.wording]

    def words(self, words: Sequence[str]) -> str:
        """The words of one image as one piece, with the space that it owns."""
        separator = self.marks.separator if self.separator is None else self.separator
        return self.marks.space + separator.join(words)

    def name(self, label: str) -> str:
        """A label as the LLM reads it."""
        spaces = self.marks.label_spaces if self.label_spaces is None else self.label_spaces
        return " ".join(label.replace("_", " ").split()) if spaces else label

    def label(self, label: str) -> str:
        """A label as one piece, with the space that it owns."""
        return self.marks.space + self.name(label)

    def instruction(self, labels: Sequence[str]) -> str:
        """The first line: the labels to choose from, sorted; empty without induction."""
        names = f"' or {self.marks.next_label}'".join(sorted({self.name(label) for label in labels}))
        return f"For each of the following input output pairs, output is one of ['{names}']\n" if self.induction else ""

    def repeated(self, supports: Sequence[Support]) -> list[Support]:
        """The support list as often as it is shown."""
        return list(supports) * (self.repeats + 1)


def fewshot_prompt(supports: Sequence[Support], query: Sequence[str], format: FewShotFormat | None = None) -> Prompt:
    """The prompt that the query's label completes.

    Args:
        supports: per labelled image its words, nearest first, and its label.
        query: the words of the image to be named.
        format: how it is written.

    Returns:
        pieces: instruction, then per example mark, words, mark, label; `format.label` gives what may follow.
    """
    format = format or FewShotFormat()
    marks = format.marks
    pieces = [format.instruction([label for _, label in supports])]
    for words, label in format.repeated(supports):
        pieces += [marks.before_input, format.words(words), marks.before_output, format.label(label), marks.after_example]
    return joined([*pieces, marks.before_input, format.words(query), marks.before_output])


def channel_prompt(supports: Sequence[Support], label: str, format: FewShotFormat | None = None) -> Prompt:
    """The prompt that the query's words complete, if `label` names it.

    Args:
        supports: as above.
        label: the label whose words are asked for.
        format: how it is written; lines of "label: words", so that the instruction and the marks do not matter.

    Returns:
        pieces: per example label, colon, words, newline; then the label and a colon; `format.words` gives what may follow.
    """
    format = format or FewShotFormat()
    pieces: list[str] = []
    for words, name in format.repeated(supports):
        pieces += [format.name(name), ":", format.words(words), "\n"]
    return joined([*pieces, format.name(label), ":"])


def joined(pieces: Sequence[str]) -> Prompt:
    """A prompt of the pieces that are not empty."""
    return Prompt(tuple(piece for piece in pieces if piece))

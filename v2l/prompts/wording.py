"""the name of a wording ──► the fixed texts of a prompt.

In byte-level vocabularies a space belongs to the next token, so no piece of `paper` or `tuned` ends in a
space. `official` has exactly the pieces of the official code. Source: V2L Tokenizer, arXiv 2403.07874,
sections 4.1 and 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from v2l.errors import V2LError


@dataclass(frozen=True)
class Wording:
    """The fixed texts of a prompt, and how it is spaced.

    Attributes:
        before_input: the text before the words or visual tokens of an example.
        before_output: the text between its input and its output.
        after_example: the text after its output.
        space: the text before a list of words and before a label.
        separator: the text between two words.
        next_label: the text before the quotation mark of every label but the first, in the instruction.
        label_spaces: whether a label has spaces, not underscores.
        own_spaces: whether SentencePiece adds a space to a text that begins with one; see `Prompt`.
    """

    before_input: str
    before_output: str
    after_example: str = ""
    space: str = " "
    separator: str = " "
    next_label: str = ""
    label_spaces: bool = True
    own_spaces: bool = False


PAPER = Wording("###\nInput: <", " >\nOutput:")
OFFICIAL = Wording(
    "###\nInput: < ",
    " >\nOutput: ",
    space="",
    separator="",
    next_label="[",
    label_spaces=False,
    own_spaces=True,
)

FEWSHOT = {
    "paper": PAPER,
    "official": OFFICIAL,
    "tuned": Wording("Words:", " ->", after_example="\n", separator=", "),
}
DENOISE = {"paper": PAPER, "official": OFFICIAL, "tuned": Wording("", " ->", after_example="\n")}


def check_wording(name: str) -> None:
    """Refuse an unknown wording.

    Raises:
        V2LError: with the known ones.
    """
    if name not in FEWSHOT:
        raise V2LError(f"got the prompt wording {name!r}", ", ".join(FEWSHOT), "--prompt tuned")

"""a name ──► the texts between the words of a prompt.

In byte-level vocabularies a space belongs to the piece behind it, so no piece of ours ends in a lone space; `official` keeps the
official code's pieces to the letter. Source: V2L Tokenizer, arXiv 2403.07874, sections 4.1 and 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from v2l.errors import V2LError


@dataclass(frozen=True)
class Wording:
    """The marks of a prompt and its habits.

    Attributes:
        before_input: stands before the words or visual tokens of an example.
        before_output: stands between its input and its output.
        after_example: stands after its output.
        space: what a list of words and a label begin with.
        separator: stands between two words.
        next_label: stands before the quotation mark of every label but the first, in the instruction.
        label_spaces: whether underscores of a label become spaces.
        own_spaces: how a text that begins with a space is encoded; see `Prompt`.
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
    """Refuse a wording that is none.

    Raises:
        V2LError: naming those that are.
    """
    if name not in FEWSHOT:
        raise V2LError(f"got the prompt wording {name!r}", ", ".join(FEWSHOT), "--prompt tuned")

"""a JSON file ──► answered examples for a prompt: those that ship, or the user's own.

An example has its words, or an image whose words are read when they are needed. Those that ship are photographs of data/samples with the
words that the checkpoint that ships has for them, by each way of choosing words, so that no image is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from v2l.errors import V2LError
from v2l.prompts.entries import Entry, read_entries
from v2l.prompts.vqa import check_question

SHIPPED = Path(__file__).parent / "examples"
KEYS = {"caption": ("caption",), "vqa": ("question", "answer")}
WAYS = ("nearest", "together")  # of choosing words: an example may have its words by each


@dataclass(frozen=True)
class Shot:
    """One answered example.

    Attributes:
        answer: the caption, or the answer to the question.
        question: what was asked; empty for a caption.
        words: of the image, nearest first; empty when they are to be read from it.
        image: its file; None when the words are given and no file is named.
        where: the file and the line, for people.
    """

    answer: str
    question: str = ""
    words: tuple[str, ...] = ()
    image: Path | None = None
    where: str = ""


def load_shots(task: str, choice: str, path: str | Path | None = None) -> tuple[Shot, ...]:
    """Read examples.

    Args:
        task: caption or vqa.
        choice: the way of choosing words; an entry may have a list under its name.
        path: JSON, a list of objects or one a line, each with `caption`, or with `question` and `answer`; and with `words`, a list, or
            with `image`, a path relative to the file. None is the file that ships.

    Raises:
        V2LError: there is no such file, or an entry lacks a key, with the line and the key.
    """
    return tuple(_shot(entry, task, choice) for entry in read_entries(path or SHIPPED / f"{task}.json"))


def _shot(entry: Entry, task: str, choice: str) -> Shot:
    known = {*KEYS[task], "words", "image", *WAYS}
    if strange := sorted(entry.values.keys() - known):
        raise V2LError(f"{entry.where}: the key {strange[0]!r} is unknown", ", ".join(sorted(known)))
    if not entry.values.keys() & {"words", "image", choice}:
        raise V2LError(f"{entry.where}: the keys 'words' and 'image' are missing", "one of them")
    *question, answer = (entry.text(key) for key in KEYS[task])
    words = next((entry.texts(key) for key in (choice, "words") if key in entry.values), ())
    image = entry.path("image") if "image" in entry.values else None
    return Shot(answer, check_question(question[0]) if question else "", words, image, entry.where)

"""a JSON file ──► answered examples for a prompt: those of the package, or the user's own.

An example has words, or an image whose words are computed when they are needed. The examples of the package
are photographs of data/samples. They have the words of the package's checkpoint for each word selection, so
that no image is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from v2l.errors import V2LError
from v2l.prompts.entries import Entry, read_entries
from v2l.prompts.vqa import check_question

SHIPPED = Path(__file__).parent / "examples"
KEYS = {"caption": ("caption",), "vqa": ("question", "answer")}
SELECTIONS = ("nearest", "together")  # word selections; an example may have its words for each


@dataclass(frozen=True)
class Shot:
    """One answered example.

    Attributes:
        answer: the caption, or the answer to the question.
        question: empty for a caption.
        words: of the image, nearest first; empty when they are computed from it.
        image: its file; None when the words are given without one.
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
        choice: the word selection; an entry may have a list of words under its name.
        path: JSON, a list of objects or one object a line. Each has `caption`, or `question` and `answer`.
            Each has `words`, a list, or `image`, a path relative to the file. None is the file of the
            package.

    Raises:
        V2LError: there is no such file, or an entry lacks a key; the error has the line and the key.
    """
    return tuple(_shot(entry, task, choice) for entry in read_entries(path or SHIPPED / f"{task}.json"))


def _shot(entry: Entry, task: str, choice: str) -> Shot:
    known = {*KEYS[task], "words", "image", *SELECTIONS}
    if strange := sorted(entry.values.keys() - known):
        raise V2LError(f"{entry.where}: the key {strange[0]!r} is unknown", ", ".join(sorted(known)))
    if not entry.values.keys() & {"words", "image", choice}:
        raise V2LError(f"{entry.where}: the keys 'words' and 'image' are missing", "one of them")
    texts = {key: entry.text(key) for key in KEYS[task]}
    answer = texts[KEYS[task][-1]]
    question = check_question(texts["question"]) if "question" in texts else ""
    words = next((entry.texts(key) for key in (choice, "words") if key in entry.values), ())
    image = entry.path("image") if "image" in entry.values else None
    return Shot(answer, question, words, image, entry.where)

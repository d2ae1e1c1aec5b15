"""photographs, and questions of the user's ──► captions and answers, judged: by the joint encoder, and by exact match.

A caption is scored by the cosine of its text and its image, against the mean over the wrong images, beside the caption "a photo of {top
word}". The judge is the encoder that chose the words, and that baseline is the sentence by which it chose the top one: it is hard to beat
by construction. Distinct-n: Li et al., arXiv 1510.03055.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import torch
from torch import Tensor

from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.evaluation.journal import Journal, Record
from v2l.images import Skipped
from v2l.metrics import Mean, Proportion
from v2l.pipeline.image_words import BATCH, ImageWords
from v2l.prompts.entries import Entry, read_entries
from v2l.prompts.vqa import check_question
from v2l.sources import ImageFile, image_size
from v2l.tasks.description.describe import Describer, Description

TOP_WORD = "a photo of {}"
CHUNK = 256  # captions a product: bounds memory at 256 × n cosines
Item = TypeVar("Item")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Question:
    """One line of the user's file."""

    image: Path
    question: str
    answer: str


@dataclass(frozen=True)
class Scores:
    """Cosines of n captions with images.

    Attributes:
        own: (n,) with their own image.
        wrong: (n,) the mean over the other images.
    """

    own: Tensor
    wrong: Tensor

    def to_dict(self) -> dict[str, Any]:
        """For reports: means with intervals."""
        figures = {"score": self.own, "score_wrong_images": self.wrong, "difference": self.own - self.wrong}
        return {name: Mean.of(values.tolist()).to_dict() for name, values in figures.items()}


def load_questions(path: str | Path) -> list[Question]:
    """The user's questions: JSON, a list of `image`, `question` and `answer`, images relative to the file.

    Raises:
        V2LError: there is no such file, or an entry lacks a key, with the line and the key.
    """
    return [_question(entry) for entry in read_entries(path)]


def evaluate_captions(
    describer: Describer,
    files: Sequence[ImageFile],
    log: Path | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """Caption photographs, some at a time.

    Args:
        describer: the task caption.
        files: in the order in which they are captioned.
        log: a journal; the same call goes on with it. None keeps nothing.
        progress: told ("captions", images done, images in all) after every batch.

    Returns:
        a record an image: `image`, `words`, `text` and `vector`, or `image` and `skipped` with the reason.

    Raises:
        V2LError: the LLM cannot be asked, or the journal belongs to another evaluation.
    """
    listed = [f"{file} {image_size(file)}" for file in files]
    journal = Journal.open(log, facts(describer, listed))
    return continued(
        journal,
        files,
        lambda batch: caption_batch(describer, batch),
        progress and partial(progress, "captions"),
    )


def continued(
    journal: Journal,
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], Iterable[Record]],
    progress: Callable[[int, int], None] | None,
) -> list[Record]:
    """One record an item, in their order; those that the journal has are not done again."""
    for start in range(len(journal.records), len(items), BATCH):
        for record in work(items[start : start + BATCH]):
            journal.append(record)
        if progress:
            progress(len(journal.records), len(items))
    return journal.records


def caption_batch(describer: Describer, files: Sequence[ImageFile]) -> Iterator[Record]:
    """The records of some files, in their order."""
    skipped = Skipped()
    read = dict(describer.read(files, skipped))
    said = described(describer, list(read.values()), [""] * len(read))  # in the order of `files`
    reasons = dict(skipped.files)
    for file in files:
        if file in read:
            text, words = next(said).text, list(read[file].words)
            yield {"image": str(file), "words": words, "text": text, "vector": read[file].vector.tolist()}
        else:
            yield {"image": str(file), "skipped": reasons[file]}


def described(
    describer: Describer, images: Sequence[ImageWords], questions: Sequence[str]
) -> Iterator[Description]:
    """A description of each image: from the local LLM all at once, from a server one after the other.

    A server may fail in the middle of a batch; then the journal keeps the answers before that.
    """
    if describer.endpoint is None:
        yield from describer.describe(images, questions)
    else:
        for image, question in zip(images, questions, strict=True):
            yield from describer.describe([image], [question])


def evaluate_answers(
    describer: Describer,
    questions: Sequence[Question],
    log: Path | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """Answer the user's questions, some at a time.

    Args:
        describer: the task vqa.
        questions: each with the right answer.
        log: as above.
        progress: told ("answers", questions done, questions in all) after every batch.

    Returns:
        a record a question: `image`, `question`, `truth`, `words`, `text` and `right`, or `image`, `question` and `skipped`.

    Raises:
        V2LError: as above.
    """
    journal = Journal.open(log, facts(describer, [repr(question) for question in questions]))
    return continued(
        journal,
        questions,
        lambda batch: answer_batch(describer, batch),
        progress and partial(progress, "answers"),
    )


def answer_batch(describer: Describer, questions: Sequence[Question]) -> Iterator[Record]:
    """The records of some questions, in their order; an image that several are about is read once."""
    skipped = Skipped()
    read = dict(describer.read(list(dict.fromkeys(question.image for question in questions)), skipped))
    asked = [question for question in questions if question.image in read]
    images, texts = [read[question.image] for question in asked], [question.question for question in asked]
    said = described(describer, images, texts)  # in the order of `questions`
    reasons = dict(skipped.files)
    for question in questions:
        record = {"image": str(question.image), "question": question.question}
        if question.image in read:
            description = next(said)
            text = description.text
            told = {
                "words": list(description.words),
                "text": text,
                "right": is_right(text, question.answer),
            }
            yield record | {"truth": question.answer} | told
        else:
            yield record | {"skipped": reasons[question.image]}


def is_right(answer: str, truth: str) -> bool:
    """Whether an answer is the right one, without regard to case and to a full stop at the end."""
    return plain(answer) == plain(truth)


def plain(answer: str) -> str:
    """An answer as it is compared."""
    return answer.strip().rstrip(".").strip().casefold()


def facts(describer: Describer, listed: Iterable[str]) -> Record:
    """What must be the same when a journal goes on."""
    digest = hashlib.sha256("\n".join(listed).encode(errors="surrogateescape")).hexdigest()[:16]
    return {"protocol": describer.task, "data": digest, **describer.report()}


@torch.inference_mode()
def caption_scores(encoder: JointEncoder, captions: Sequence[str], vectors: Tensor) -> Scores:
    """How near captions are to their own images and to the others.

    Args:
        encoder: the judge.
        captions: n texts; an empty one has the cosine 0 with everything.
        vectors: (n, D) of unit length, n at least 2.
    """
    texts = encoder.encode_texts(captions).cpu() * torch.tensor(
        [[float(bool(caption))] for caption in captions]
    )  # (n, D)
    own = (texts * vectors).sum(dim=1)
    every = torch.cat([(part @ vectors.T).sum(dim=1) for part in texts.split(CHUNK)])
    return Scores(own, (every - own) / (len(vectors) - 1))


def distinct(captions: Sequence[str], n: int) -> float:
    """Different n-grams of words as a share of all of them, over all captions; 0 when there are none."""
    split = [caption.casefold().split() for caption in captions]
    grams = [tuple(words[start : start + n]) for words in split for start in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def caption_report(encoder: JointEncoder, records: Sequence[Record]) -> dict[str, Any]:
    """Metrics and baselines of captions.

    Raises:
        V2LError: fewer than two images could be read.
    """
    read = [record for record in records if "skipped" not in record]
    if len(read) < 2:
        raise V2LError(
            f"{len(read)} photograph could be read",
            "at least 2: a caption is held against the wrong images too",
        )
    captions, vectors = (
        [record["text"] for record in read],
        torch.tensor([record["vector"] for record in read]),
    )
    top_words = [TOP_WORD.format(record["words"][0]) for record in read]
    scores, baseline = caption_scores(encoder, captions, vectors), caption_scores(encoder, top_words, vectors)
    less = Mean.of((scores.own - scores.wrong - baseline.own + baseline.wrong).tolist()).to_dict()
    return {
        "metrics": scores.to_dict() | distinct_figures(captions) | {"difference_less_baseline": less},
        "baselines": {TOP_WORD.format("{top word}"): baseline.to_dict() | distinct_figures(top_words)},
        "n": len(read),
        "judge": encoder.name,
    }


def distinct_figures(captions: Sequence[str]) -> dict[str, Any]:
    """distinct-1 and distinct-2; of the whole set, so without an interval."""
    return {f"distinct_{n}": {"value": distinct(captions, n), "interval": None} for n in (1, 2)}


def answer_report(records: Sequence[Record]) -> dict[str, Any]:
    """Metrics and baselines of answers.

    Raises:
        V2LError: no image could be read.
    """
    read = [record for record in records if "skipped" not in record]
    if not read:
        raise V2LError(
            f"not one image of {len(records)} question(s) could be read; the first: {records[0]['skipped']}"
        )
    (_, most), *_ = Counter(plain(record["truth"]) for record in read).most_common(1)
    return {
        "metrics": {"exact_match": Proportion(sum(record["right"] for record in read), len(read)).to_dict()},
        "baselines": {"always the most frequent answer": Proportion(most, len(read)).to_dict()},
        "n": len(read),
    }


def draw(files: Sequence[ImageFile], seed: int, limit: int | None) -> list[ImageFile]:
    """The photographs in the order in which they are captioned: drawn by the seed, so that the first ones are not chosen by hand."""
    return Random(seed).sample(files, len(files))[:limit]


def _question(entry: Entry) -> Question:
    return Question(entry.path("image"), check_question(entry.text("question")), entry.text("answer"))

"""photographs and questions ──► captions scored by the joint encoder, and answers scored by exact match.

The score of a caption is the cosine of its text and its image, beside the mean cosine with the wrong images.
The baseline is the caption "a photo of {top word}". It is hard to beat by construction, because the encoder
that scores also chose the top word, by this very sentence. Distinct-n: Li et al., arXiv 1510.03055.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import torch
from torch import Tensor

from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.evaluation.journal import LLM, WEIGHTS, Journal, Record, identify_llm
from v2l.images import Skipped
from v2l.metrics import GroupedShare, Mean
from v2l.pipeline.image_words import BATCH, ImageWords
from v2l.progress import Progress
from v2l.prompts.entries import Entry, read_entries
from v2l.prompts.vqa import check_question
from v2l.sources import ImageFile, image_size
from v2l.tasks.description.describe import Describer, Description

TOP_WORD = "a photo of {}"
CHUNK = 256  # captions in one product; limits the memory to 256 × n cosines
Item = TypeVar("Item")


@dataclass(frozen=True)
class Question:
    """One entry of the user's file: an image, a question about it and the right answer."""

    image: Path
    question: str
    answer: str


@dataclass(frozen=True)
class CaptionScores:
    """Cosines of n captions with images.

    Attributes:
        own: (n,) with their own image.
        wrong: (n,) mean over the other images.
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
    """Caption photographs in batches.

    Args:
        describer: the task caption.
        files: in the order in which they are captioned.
        log: a journal, with which the same call continues; None keeps the records in memory only.
        progress: called as ("captions", images done, all images) after every batch.

    Returns:
        one record for each image: `image`, `words`, `text` and `vector`, or `image` and `skipped` with the
        reason.

    Raises:
        V2LError: the LLM cannot answer, or the journal belongs to another evaluation or another LLM.
    """
    listed = [f"{file} {image_size(file)}" for file in files]
    journal = open_journal(describer, log, listed)
    for batch in remaining_batches(journal, files, "captions", progress):
        for record in caption_batch(describer, batch):
            journal.append(record)
    return journal.records


def remaining_batches(
    journal: Journal, items: Sequence[Item], step: str, progress: Progress | None
) -> Iterator[Sequence[Item]]:
    """The batches of items that have no record in the journal yet; progress is called after each of them."""
    for start in range(len(journal.records), len(items), BATCH):
        yield items[start : start + BATCH]
        if progress:
            progress(step, len(journal.records), len(items))


def caption_batch(describer: Describer, files: Sequence[ImageFile]) -> Iterator[Record]:
    """The records of some files, in their order."""
    skipped = Skipped()
    read = dict(describer.read(files, skipped))
    descriptions = each_description(
        describer, list(read.values()), [""] * len(read)
    )  # in the order of `files`
    reasons = dict(skipped.files)
    for file in files:
        if file in read:
            text, words = next(descriptions).text, list(read[file].words)
            yield {"image": str(file), "words": words, "text": text, "vector": read[file].vector.tolist()}
        else:
            yield {"image": str(file), "skipped": reasons[file]}


def each_description(
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
    """Answer the user's questions in batches.

    Args:
        describer: the task vqa.
        questions: each with the right answer.
        log: as above.
        progress: called as ("answers", questions done, all questions) after every batch.

    Returns:
        one record for each question: `image`, `question`, `truth`, `words`, `text` and `right`, or `image`,
        `question` and `skipped`.

    Raises:
        V2LError: as above.
    """
    listed = [f"{question!r} {image_size(question.image)}" for question in questions]
    journal = open_journal(describer, log, listed)
    for batch in remaining_batches(journal, questions, "answers", progress):
        for record in answer_batch(describer, batch):
            journal.append(record)
    return journal.records


def answer_batch(describer: Describer, questions: Sequence[Question]) -> Iterator[Record]:
    """The records of some questions, in their order; an image of several questions is read once."""
    skipped = Skipped()
    read = dict(describer.read(list(dict.fromkeys(question.image for question in questions)), skipped))
    readable = [question for question in questions if question.image in read]
    images, texts = [read[item.image] for item in readable], [item.question for item in readable]
    descriptions = each_description(describer, images, texts)  # in the order of `questions`
    reasons = dict(skipped.files)
    for question in questions:
        record = {"image": str(question.image), "question": question.question}
        if question.image in read:
            description = next(descriptions)
            text = description.text
            answered = {
                "words": list(description.words),
                "text": text,
                "right": is_right(text, question.answer),
            }
            yield record | {"truth": question.answer} | answered
        else:
            yield record | {"skipped": reasons[question.image]}


def is_right(answer: str, truth: str) -> bool:
    """Whether an answer equals the right one, except for case and for a full stop at the end."""
    return normalize_answer(answer) == normalize_answer(truth)


def normalize_answer(answer: str) -> str:
    """An answer in the form that is compared."""
    return answer.strip().rstrip(".").strip().casefold()


def open_journal(describer: Describer, log: Path | None, listed: Iterable[str]) -> Journal:
    """A journal for these data, settings, tokenizer and LLM.

    Raises:
        V2LError: the file is a journal of others.
    """
    if log is None:
        return Journal()
    llm = identify_llm(describer.pipeline, describer.endpoint)  # loads it, and reports name a loaded one
    metadata = {
        "protocol": describer.task,
        "data": short_hash("\n".join(listed).encode(errors="surrogateescape")),
        **describer.report(),
        WEIGHTS: describer.pipeline.tokenizer.fingerprint,
        LLM: llm,
    }
    examples = describer.settings.examples
    if examples is not None:
        # The path is in the settings. The answers of the LLM depend on the content, and so on the words of
        # the images that the file names.
        content = [examples.read_bytes(), repr(describer.examples).encode(errors="surrogateescape")]
        metadata["examples_fingerprint"] = short_hash(*content)
    return Journal.open(log, metadata)


def short_hash(*parts: bytes) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of some bytes, one part after another."""
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


@torch.inference_mode()
def caption_scores(encoder: JointEncoder, captions: Sequence[str], vectors: Tensor) -> CaptionScores:
    """Cosines of captions with their own images and with the other ones.

    Args:
        encoder: the joint encoder that scores.
        captions: n texts; an empty one has the cosine 0 with everything.
        vectors: (n, D) of unit length, n at least 2.
    """
    not_empty = torch.tensor([[float(bool(caption))] for caption in captions])  # (n, 1)
    texts = encoder.encode_texts(captions).cpu() * not_empty  # (n, D)
    own = (texts * vectors).sum(dim=1)
    chunks = torch.split(texts, CHUNK)
    every = torch.cat([(chunk @ vectors.T).sum(dim=1) for chunk in chunks])  # sum over all images
    return CaptionScores(own, (every - own) / (len(vectors) - 1))


def distinct(captions: Sequence[str], n: int) -> float:
    """Number of different n-grams of words divided by the number of all, over all captions; 0 without any."""
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
            "at least 2, because a caption is compared with the wrong images too",
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
    """Metrics and baselines of answers; those about one image are one group of a `GroupedShare`.

    Raises:
        V2LError: no image could be read.
    """
    read = [record for record in records if "skipped" not in record]
    if not read:
        raise V2LError(
            f"not one image of {len(records)} question(s) could be read; the first: {records[0]['skipped']}"
        )
    truths, images = [normalize_answer(record["truth"]) for record in read], [one["image"] for one in read]
    (most, _), *_ = Counter(truths).most_common(1)
    right = GroupedShare.of_labelled([record["right"] for record in read], images)
    frequent = GroupedShare.of_labelled([truth == most for truth in truths], images)
    return {
        "metrics": {"exact_match": right.to_dict()},
        "baselines": {"always the most frequent answer": frequent.to_dict()},
        "n": len(read),
    }


def draw(files: Sequence[ImageFile], seed: int, limit: int | None) -> list[ImageFile]:
    """The photographs in the random order of a seed, so that the first captions are not selected by hand."""
    return Random(seed).sample(files, len(files))[:limit]


def _question(entry: Entry) -> Question:
    return Question(entry.path("image"), check_question(entry.text("question")), entry.text("answer"))

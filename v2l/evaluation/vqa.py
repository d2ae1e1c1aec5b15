"""questions + a pipeline ──► the share of right answers, beside answers that need no LLM.

The baselines take the answer whose text is nearest to the image's vector by cosine. For "is it an animal?"
the texts are "a photo of an animal" and "a photo of something that is not an animal"; a second baseline
compares the kind with the mean of all kinds. As many right answers are yes as no, so the share of right
answers is the balanced accuracy. Questions about one image are one group of a `GroupedShare`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from v2l.evaluation.questions import KINDS, KindQuestion, WhichQuestion, phrase
from v2l.evaluation.table import markdown_table
from v2l.metrics import GroupedShare
from v2l.pipeline.image_words import ImageWords
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.choices import with_article
from v2l.sources import ImageFile
from v2l.tasks.description.choices import Choice, score_answers, score_kinds

LLM = "the LLM"
COSINE = "nearest text, no LLM"
COSINE_OF_KINDS = "nearer than the mean kind, no LLM"
CHANCE = "chance"
WHICH, YES_NO = "what is it, of four", "is it ..., yes or no"


@dataclass(frozen=True)
class Answers:
    """The answers to one sort of question.

    Attributes:
        right: per method, for each question whether its answer was right.
        chance: the share that a random answer gets.
        records: for each question the image, its words, the question, the LLM's answer and the right one.
    """

    right: Mapping[str, Sequence[bool]]
    chance: float
    records: Sequence[dict[str, Any]]

    def shares(self) -> dict[str, GroupedShare]:
        """Method ──► the share of right answers."""
        images = [record["image"] for record in self.records]
        return {name: GroupedShare.of_labelled(right, images) for name, right in self.right.items()}

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        shares = {name: share.to_dict() for name, share in self.shares().items()}
        return {
            "metrics": {"accuracy": shares.pop(LLM)},
            "baselines": shares | {CHANCE: {"value": self.chance}},
            "n": len(self.records),
            "answers": list(self.records),
        }


def answer_which(
    pipeline: Pipeline, questions: Sequence[WhichQuestion], images: Mapping[ImageFile, ImageWords]
) -> Answers:
    """Answer "what is it, of four?" by the LLM and by cosine."""
    choices = [Choice(images[question.file].words, question.answers) for question in questions]
    answers = [max(of, key=of.__getitem__) for of in score_answers(pipeline.llm, choices)]
    truths = [question.answers[question.right] for question in questions]
    names = sorted({name for question in questions for name in question.answers})
    texts = pipeline.joint_encoder.encode_texts([f"a photo of {with_article(name)}" for name in names]).cpu()
    text_of = dict(zip(names, texts, strict=True))  # (D,) each
    nearest = [
        max(question.answers, key=lambda name: float(text_of[name] @ images[question.file].vector))
        for question in questions
    ]
    records = [
        {
            "image": str(question.file),
            "words": list(choice.words),
            "question": f"What is it: {', '.join(question.answers)}?",
            "answer": answer,
            "truth": truth,
        }
        for question, choice, answer, truth in zip(questions, choices, answers, truths, strict=True)
    ]
    right = {LLM: equal(answers, truths), COSINE: equal(nearest, truths)}
    return Answers(right, 1 / len(questions[0].answers), records)


def answer_kinds(
    pipeline: Pipeline, questions: Sequence[KindQuestion], images: Mapping[ImageFile, ImageWords]
) -> Answers:
    """Answer "is it an animal?" by the LLM and by cosine."""
    words = [images[question.file].words for question in questions]
    scores = score_kinds(pipeline.llm, words, [question.kind for question in questions])
    vectors = torch.stack([images[question.file].vector for question in questions])  # (n, D)
    affirmed, denied = (
        pipeline.joint_encoder.encode_texts([text.format(phrase(kind)) for kind in KINDS]).cpu() @ vectors.T
        for text in ("a photo of {}", "a photo of something that is not {}")
    )  # (kinds, n) each
    places = torch.tensor([[KINDS.index(question.kind) for question in questions]])
    truth = [question.truth for question in questions]
    answers = [score > 0 for score in scores]
    records = [
        {
            "image": str(question.file),
            "words": list(some),
            "question": f"Is it {phrase(question.kind)}?",
            "answer": "yes" if answer else "no",
            "truth": "yes" if question.truth else "no",
        }
        for question, some, answer in zip(questions, words, answers, strict=True)
    ]
    return Answers(
        {
            LLM: equal(answers, truth),
            COSINE: equal(_at(affirmed - denied, places), truth),
            COSINE_OF_KINDS: equal(_at(affirmed - affirmed.mean(dim=0), places), truth),
        },
        0.5,
        records,
    )


def equal(answers: Sequence[Any], truths: Sequence[Any]) -> list[bool]:
    """Whether each answer is the right one."""
    return [answer == truth for answer, truth in zip(answers, truths, strict=True)]


def report(parts: Mapping[str, Answers], pipeline: Pipeline, seed: int) -> dict[str, Any]:
    """The object for programs."""
    return {
        **{name: answers.to_dict() for name, answers in parts.items()},
        "seed": seed,
        "protocol": "vqa: questions from class names and WordNet, answers by the LLM's log-probabilities",
        "stack": pipeline.describe(),
    }


def page(parts: Mapping[str, Answers], shown: int = 10) -> str:
    """The figures for people, with the first answers, none of them selected."""
    rows = []
    for name, answers in parts.items():
        for method, share in answers.shares().items():
            rows.append([name, method, str(share), f"{share.n:,}"])
        rows.append([name, CHANCE, f"{answers.chance:.1%}", ""])
    lines = [markdown_table(["question", "answered by", "right (95 %)", "n"], rows), ""]
    for answers in parts.values():
        lines += [
            f"{record['image']}: {', '.join(record['words'][:5])}. {record['question']} "
            f"{record['answer']} ({record['truth']})"
            for record in answers.records[:shown]
        ]
    return "\n".join(lines)


def _at(scores: Tensor, places: Tensor) -> list[bool]:
    """Whether the scores (kinds, n) at each question's kind (1, n) are above 0."""
    found: list[bool] = (scores.gather(0, places)[0] > 0).tolist()
    return found

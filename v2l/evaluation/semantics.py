"""image vectors + codebooks ──► how near an image's words are to it: the paper's table 2.

The score of an image is the mean cosine between it and its nearest words; the paper calls it CLIP score, and
here it is named after the encoder at hand. The relative score (CLIP-R) puts the worst word of the whole
vocabulary at 0 and the best at 1, image by image; that reading of the paper is unconfirmed. The encoder that
scores is the one that chose the words, as in the paper: scores of two codebooks of one encoder can be
compared, those of two encoders cannot. Source: V2L Tokenizer, arXiv 2403.07874, section 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from v2l.codebook.codebook import Codebook
from v2l.errors import V2LError
from v2l.evaluation.table import markdown_table
from v2l.metrics import Mean

ORDERS = {1: "subwords only", 2: "with bigrams", 3: "with trigrams"}
CHUNK = 256  # images a product: bounds memory at 256 × V scores


@dataclass(frozen=True)
class SemanticsSettings:
    """What is measured.

    Attributes:
        counts: numbers of words an image.
        distinct: one word of each family ("Dogs" and "dog" are one), as v2l chooses global words; otherwise
            the nearest, as the paper does.
        seed: of the random words beside them.
    """

    counts: tuple[int, ...] = (1, 5, 21)
    distinct: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Vocabulary:
    """Words of one codebook up to one length.

    Attributes:
        codebook: its name, "before filtering" say.
        orders: "subwords only", "with bigrams" or "with trigrams".
        words: the words themselves.
    """

    codebook: str
    orders: str
    words: Codebook


@dataclass(frozen=True)
class Semantics:
    """How near some words are to their images.

    Attributes:
        vocabulary: where the words come from.
        count: words an image.
        score: mean cosine of image and word, in [-1, 1].
        relative: the same between the worst (0) and the best (1) word of the whole vocabulary.
    """

    vocabulary: Vocabulary
    count: int
    score: Mean
    relative: Mean

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        return {"score": self.score.to_dict(), "relative": self.relative.to_dict()}


@dataclass(frozen=True)
class SemanticsResult:
    """What was measured.

    Attributes:
        nearest: of every vocabulary and count, the words that are nearest.
        random: the same for words drawn from the same vocabulary.
        n: images.
        settings: of the evaluation.
        pipeline: names and fingerprints of encoder and LLM.
    """

    nearest: tuple[Semantics, ...]
    random: tuple[Semantics, ...]
    n: int
    settings: SemanticsSettings
    pipeline: dict[str, str]


def evaluate_semantics(
    features: Tensor, codebooks: Mapping[str, Codebook], settings: SemanticsSettings
) -> SemanticsResult:
    """Measure every codebook, by subwords only, with bigrams, and with trigrams.

    Args:
        features: (n, D) float32 image vectors, unit length, of the codebooks' encoder.
        codebooks: by name; all of one encoder and one LLM. Together they are the whole vocabulary of the
            relative score.
        settings: of the evaluation.

    Raises:
        V2LError: the codebooks are of different models, or one has fewer words than `settings.counts` needs.
    """
    books = list(codebooks.values())
    for book in books[1:]:
        books[0].require_source(book.source)
    low, high = whole_range(features, books)
    vocabularies = [part for name, book in codebooks.items() for part in by_order(name, book)]
    nearest, random = [], []
    for vocabulary in vocabularies:
        near = nearest_scores(features, vocabulary, settings)
        drawn = random_scores(features, vocabulary.words, settings)
        for count in settings.counts:
            nearest.append(_semantics(vocabulary, near[:, :count], low, high))
            random.append(_semantics(vocabulary, drawn[:, :count], low, high))
    return SemanticsResult(tuple(nearest), tuple(random), len(features), settings, vars(books[0].source))


def by_order(name: str, codebook: Codebook) -> list[Vocabulary]:
    """Three vocabularies of a codebook: its subwords, these and bigrams, and all of its words.

    A vocabulary that is no larger than the one before it is left out.
    """
    found: list[Vocabulary] = []
    for order, title in ORDERS.items():
        rows = [
            row
            for row, entry in enumerate(codebook.entries)
            if 0 < entry.order <= order or order == max(ORDERS)
        ]
        if rows and (not found or len(rows) > len(found[-1].words)):
            found.append(Vocabulary(name, title, codebook.select(rows)))
    return found


def whole_range(features: Tensor, codebooks: Sequence[Codebook]) -> tuple[Tensor, Tensor]:
    """The lowest and the highest cosine of each image to any word of any codebook: (n,) twice."""
    low, high = torch.full((len(features),), torch.inf), torch.full((len(features),), -torch.inf)
    for codebook in codebooks:
        rows = codebook.embeddings.float()
        extremes = [torch.aminmax(chunk @ rows.T, dim=-1) for chunk in torch.split(features, CHUNK)]
        low = torch.minimum(low, torch.cat([found.min for found in extremes]))
        high = torch.maximum(high, torch.cat([found.max for found in extremes]))
    return low, high


def nearest_scores(features: Tensor, vocabulary: Vocabulary, settings: SemanticsSettings) -> Tensor:
    """(n, most words) cosines, nearest first.

    Raises:
        V2LError: the vocabulary has fewer words than `settings.counts` needs.
    """
    words, most = vocabulary.words, max(settings.counts)
    if most > len(words):
        got = (
            f"asked for {most} words, and {vocabulary.codebook} there are {len(words)} ({vocabulary.orders})"
        )
        raise V2LError(got, f"at most {len(words)} words", "fewer --counts, or a larger codebook")
    return (words.nearest_distinct if settings.distinct else words.nearest)(features, most)[0]


def random_scores(features: Tensor, words: Codebook, settings: SemanticsSettings) -> Tensor:
    """(n, most words) cosines to words drawn from the same codebook, other ones for every image."""
    generator = torch.Generator().manual_seed(settings.seed)
    rows = torch.randint(len(words), (len(features), max(settings.counts)), generator=generator)
    chunks = zip(torch.split(features, CHUNK), torch.split(rows, CHUNK), strict=True)
    return torch.cat(
        [torch.einsum("nd,ngd->ng", some, words.embeddings[drawn].float()) for some, drawn in chunks]
    )


def report(result: SemanticsResult) -> dict[str, Any]:
    """The object for programs."""
    return {
        "metrics": _nested(result.nearest),
        "baselines": {"random words of the same codebook": _nested(result.random)},
        "codebook_sizes": {
            f"{row.vocabulary.codebook}, {row.vocabulary.orders}": len(row.vocabulary.words)
            for row in result.nearest
        },
        "n": result.n,
        "seed": result.settings.seed,
        "protocol": "semantics: mean cosine of an image and its nearest words, "
        "judged by the encoder that chose them",
        "settings": asdict(result.settings),
        "stack": result.pipeline,
    }


def page(result: SemanticsResult) -> str:
    """The figures for people."""
    name = result.pipeline["encoder"]
    rows = [
        [
            f"{near.vocabulary.codebook}, {near.vocabulary.orders}",
            f"{len(near.vocabulary.words):,}",
            str(near.count),
            *(_text(figure) for figure in (near.score, near.relative, drawn.score, drawn.relative)),
        ]
        for near, drawn in zip(result.nearest, result.random, strict=True)
    ]
    head = ["", "size", "words", f"{name} score", "relative", "random words", "relative"]
    lines = [
        f"{result.n:,} images, mean with its 95 % interval over the images; encoder {name}, "
        f"words of {result.pipeline['llm']}",
        "",
        markdown_table(head, rows),
        "",
        "Relative: 0 is the worst and 1 the best word of all codebooks above, image by image.",
    ]
    return "\n".join(lines)


def _semantics(vocabulary: Vocabulary, scores: Tensor, low: Tensor, high: Tensor) -> Semantics:
    """Cosines (n, count), and the range of each image ──► the figures."""
    means = scores.mean(dim=-1)
    relative = (means - low) / (high - low).clamp(min=torch.finfo(torch.float32).eps)
    return Semantics(vocabulary, scores.shape[1], Mean.of(means.tolist()), Mean.of(relative.tolist()))


def _nested(rows: Sequence[Semantics]) -> dict[str, Any]:
    """Codebook ──► orders ──► count ──► figures."""
    nested: dict[str, Any] = {}
    for row in rows:
        nested.setdefault(row.vocabulary.codebook, {}).setdefault(row.vocabulary.orders, {})[
            str(row.count)
        ] = row.to_dict()
    return nested


def _text(figure: Mean) -> str:
    low, high = figure.interval
    return f"{figure.value:.3f} ({low:.3f} to {high:.3f})"

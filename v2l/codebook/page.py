"""images + codebook ──► a page for people: every image above its nearest subwords, bigrams and trigrams.

Source: V2L Tokenizer, arXiv 2403.07874, figure 6.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from v2l.codebook.codebook import Codebook
from v2l.drawings import image_grid
from v2l.tokens import Word

ORDERS = {1: "subwords", 2: "bigrams", 3: "trigrams"}
CELL = 250  # side of a picture, in pixels
COLUMNS = 4

WordsByOrder = dict[str, tuple[Word, ...]]


def words_by_order(codebook: Codebook, features: Tensor, count: int) -> list[WordsByOrder]:
    """The nearest words of each image, separately among subwords, bigrams and trigrams.

    A word family (cat, cats) has at most one word in each list.

    Args:
        codebook: any codebook; an order without entries is left out.
        features: (n, D) float32, unit length.
        count: number of words of each order.
    """
    found: list[WordsByOrder] = [{} for _ in features]
    for order, title in ORDERS.items():
        rows = [row for row, entry in enumerate(codebook.entries) if entry.order == order]
        if not rows:
            continue
        part = codebook.select(rows)
        scores, near = part.nearest_distinct(features, min(count, len(set(part.families))))
        for words, values, places in zip(found, scores.tolist(), near.tolist(), strict=True):
            entries = [part.entries[place] for place in places]
            words[title] = tuple(
                Word(entry.word, entry.ids, value) for entry, value in zip(entries, values, strict=True)
            )
    return found


def words_page(images: Sequence[Tensor], words: Sequence[WordsByOrder]) -> Tensor:
    """The page (3, H, W) in [0, 1]: images (3, H, W) in rows of four, each above its words."""
    labels = [
        "\n".join(f"{title}: {', '.join(word.word for word in some)}" for title, some in by_order.items())
        for by_order in words
    ]
    starts = range(0, len(images), COLUMNS)
    return image_grid(
        [images[i : i + COLUMNS] for i in starts], [labels[i : i + COLUMNS] for i in starts], cell=CELL
    )

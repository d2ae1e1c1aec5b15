"""image ──► words of the frozen LLM's vocabulary, by a frozen joint encoder and a codebook.

The codebook holds words in the space of the joint encoder.

A tokenizer of any kind can carry a word tagger to name its tokens. Source: V2L Tokenizer, arXiv 2403.07874,
section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from v2l.codebook.codebook import Codebook
from v2l.codebook.matching_pursuit import words_together
from v2l.encoders import JointEncoder, load_encoder
from v2l.errors import V2LError
from v2l.tokens import Word

RANKINGS: dict[str, Callable[[Codebook, Tensor, int], tuple[Tensor, Tensor]]] = {
    "distinct": Codebook.nearest_distinct,
    "varied": Codebook.nearest_varied,
    "euclidean": Codebook.nearest_by_distance,
}
"""Which words of a codebook are the nearest to an image."""


class WordTagger:
    """Images ──► words, by vectors in the joint space.

    Not a module: nothing in it is trained, and nothing of it is saved with a tokenizer's weights.

    Args:
        codebook: words, bigrams and trigrams with their vectors; V entries of width D.
        encoder: name of the joint encoder, which is loaded when it is first needed.
        ranking: a key of `RANKINGS`: which words are the nearest.
        ships: whether the codebook is the one that ships with v2l, so that no checkpoint needs a copy of it.
    """

    def __init__(
        self, codebook: Codebook, encoder: str, ranking: str = "distinct", ships: bool = False
    ) -> None:
        self.codebook, self.encoder_name, self.ranking, self.ships = codebook, encoder, ranking, ships
        self._encoder: JointEncoder | None = None

    def joint_encoder(self, device: torch.device | str = "auto") -> JointEncoder:
        """The frozen joint encoder, loaded to `device` at the first call, and moved when a tokenizer moves.

        Args:
            device: where its inputs are; a name counts at the first call only.

        Raises:
            V2LError: it is not on this machine, or is not the one that embedded the codebook.
        """
        if self._encoder is None:
            self.use_joint_encoder(load_encoder(self.encoder_name, str(device)))
            assert self._encoder is not None
        if isinstance(device, torch.device) and self._encoder.device != device:
            self._encoder.to(device)
        return self._encoder

    def use_joint_encoder(self, encoder: JointEncoder) -> None:
        """Take a joint encoder that is loaded already.

        Raises:
            V2LError: it is not the one that embedded the codebook.
        """
        self.codebook.require_encoder(encoder)
        self._encoder = encoder

    def nearest(self, vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The nearest words of images whose vectors are known, in the checkpoint's ranking.

        Args:
            vectors: (B, D) float32 of unit length.
            count: G, words an image.

        Returns:
            cosines (B, G) float32 and rows (B, G) int64, nearest first.

        Raises:
            V2LError: the codebook has fewer words.
        """
        return RANKINGS[self.ranking](self.codebook, vectors, count)

    def select(self, vectors: Tensor, count: int, selection: str = "nearest") -> tuple[Tensor, Tensor]:
        """The words of images whose vectors are known, chosen by a key of `SELECTIONS`.

        Returns:
            cosines (B, G) float32 and rows (B, G) int64.

        Raises:
            V2LError: the codebook has fewer words, or there is no such selection.
        """
        check_selection(selection)
        return SELECTIONS[selection](self, vectors, count)

    def words(self, vectors: Tensor, count: int, selection: str = "nearest") -> tuple[tuple[Word, ...], ...]:
        """As `select`, readable: per image its G words."""
        scores, rows = self.select(vectors, count, selection)
        return self.readable(scores, rows)

    def readable(self, scores: Tensor, rows: Tensor) -> tuple[tuple[Word, ...], ...]:
        """Scores (B, G) and rows (B, G) of the codebook ──► per image its G words."""
        entries = self.codebook.entries
        return tuple(
            tuple(
                Word(entries[row].word, entries[row].ids, score)
                for score, row in zip(image_scores, image_rows, strict=True)
            )
            for image_scores, image_rows in zip(scores.tolist(), rows.tolist(), strict=True)
        )


def select_nearest(tagger: WordTagger, vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The paper's: the `count` words nearest to each image, each judged alone."""
    return tagger.nearest(vectors, count)


def select_together(tagger: WordTagger, vectors: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Select words whose vectors together sum up to the image's vector (matching pursuit).

    Each word adds what the words before it do not cover.
    """
    rows = words_together(tagger.codebook, vectors, count)
    embeddings = tagger.codebook.embeddings
    entries = embeddings[rows.to(embeddings.device)].to(vectors.device, torch.float32)  # (B, G, D)
    return torch.cosine_similarity(vectors.float()[:, None], entries, dim=-1), rows


Selection = Callable[[WordTagger, Tensor, int], tuple[Tensor, Tensor]]
SELECTIONS: dict[str, Selection] = {"together": select_together, "nearest": select_nearest}
"""How an image's words are chosen from a codebook."""


def check_selection(selection: str) -> str:
    """The selection itself.

    Raises:
        V2LError: there is no such selection.
    """
    return _known("selection", selection, SELECTIONS)


def check_ranking(ranking: str) -> str:
    """The ranking itself.

    Raises:
        V2LError: there is no such ranking.
    """
    return _known("ranking", ranking, RANKINGS)


def _known(what: str, name: str, table: Mapping[str, object]) -> str:
    """The name itself, if it is a key of the table."""
    if name not in table:
        raise V2LError(f"got the word {what} {name!r}", ", ".join(table), f"--{what} {next(iter(table))}")
    return name

"""parts of an image ──► vectors and words: the naming that tokenizers of patches, clusters and regions share.

A part is a set of patches. Its vector is the mean of their features, put into the joint space. Its word is
the nearest one of a codebook. Frozen: the encoder and the codebook. Source: SeTok, arXiv 2406.05127, section
3.2, for the mean over a cluster; V2L Tokenizer, arXiv 2403.07874, section 3.1, for the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torch.nn.utils.rnn import pad_sequence

from v2l.codebook.codebook import Codebook
from v2l.encoders import JointEncoder
from v2l.tokenizers.contract import LLMVocabulary
from v2l.tokenizers.registry import WEIGHTS
from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import Layout, VisualTokens, Word

SHIPPED, OWN = "shipped", "own"
SHIPPED_WORDS = WEIGHTS / "small" / "global"
FOLDER = "global"  # of a checkpoint with a codebook of its own


class PatchWords:
    """A codebook and the joint encoder behind it.

    Args:
        codebook: words with their vectors.
        place: "shipped": the codebook that comes with v2l, which a checkpoint only names; "own": one that a
            checkpoint holds.
    """

    def __init__(self, codebook: Codebook, place: str = OWN) -> None:
        self.codebook, self.place = codebook, place
        self.tagger = WordTagger(codebook, codebook.source.encoder)

    @classmethod
    def load(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        """The words that a manifest names, as `settings` wrote it."""
        place = str(manifest["words"])
        return cls(Codebook.load(SHIPPED_WORDS if place == SHIPPED else folder / FOLDER), place)

    def settings(self) -> dict[str, Any]:
        """What `load` needs, for a manifest."""
        return {"words": self.place}

    def save(self, folder: Path) -> None:
        """Write the codebook into a checkpoint; the shipped one is only named."""
        if self.place == OWN:
            self.codebook.save(folder / FOLDER)

    @property
    def vocabulary(self) -> LLMVocabulary:
        """The LLM whose words they are."""
        return LLMVocabulary(self.codebook.source.llm, self.codebook.source.llm_fingerprint)

    def encoder(self, device: torch.device | str) -> JointEncoder:
        """The joint encoder, loaded at the first call."""
        return self.tagger.joint_encoder(device)

    def describe(self) -> dict[str, str]:
        """Names and fingerprints, for reports."""
        source = self.codebook.source
        return {"encoder": source.encoder, "encoder_fingerprint": source.encoder_fingerprint}

    def name(self, vectors: Tensor, rows: Tensor | None = None) -> tuple[Tensor, tuple[Word, ...]]:
        """A word for each vector.

        Args:
            vectors: (N, D) of unit length.
            rows: (N,) int64, rows of the codebook that are chosen already; None takes the nearest.

        Returns:
            rows (N,) int64, and N words, each with the cosine of its vector.
        """
        if rows is None:
            cosines, found = self.tagger.nearest(vectors, 1)
        else:
            entries = self.codebook.embeddings.to(vectors.device, torch.float32)[rows]
            cosines, found = cosine_similarity(vectors, entries, dim=-1)[:, None], rows[:, None]
        return found[:, 0], tuple(words[0] for words in self.tagger.readable(cosines, found))

    def tokens(
        self, vectors: Sequence[Tensor], layout: Layout, rows: Sequence[Tensor] | None = None
    ) -> VisualTokens:
        """The tokens of B images, a word and a vector for each part.

        Args:
            vectors: (N_b, D) of unit length, for each image.
            layout: what each token covers.
            rows: (N_b,) int64 for each image, as in `name`.
        """
        chosen: Sequence[Tensor | None] = rows or [None] * len(vectors)
        named = [self.name(each, row) for each, row in zip(vectors, chosen, strict=True)]
        ids, mask = padded([found.cpu() for found, _ in named])
        embeddings, _ = padded([each.cpu() for each in vectors])
        return VisualTokens("words", ids, embeddings, mask, layout, tuple(words for _, words in named))


def mean_features(features: Tensor, members: Tensor, count: int) -> Tensor:
    """The mean feature of each part.

    Args:
        features: (n, C) float32.
        members: (n,) int64, the part of each feature in [0, count); -1 for none.
        count: N, how many parts there are.

    Returns:
        (N, C) float32; 0 for a part without features.
    """
    inside = members >= 0
    sums = features.new_zeros(count, features.shape[1]).index_add_(0, members[inside], features[inside])
    return sums / members[inside].bincount(minlength=count).clamp(min=1)[:, None]


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Values of B images, (N_b, …) each ──► (B, N, …), 0 at padding, and the mask (B, N), False there."""
    values = pad_sequence(list(rows), batch_first=True)
    counts = torch.tensor([len(row) for row in rows])
    return values, torch.arange(values.shape[1])[None] < counts[:, None]

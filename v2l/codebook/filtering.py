"""candidate words + image vectors ──► the words of the global codebook: the filter by votes.

Top-5 vote: each image votes for the five candidates whose embeddings have the highest cosine with its own
vector. Candidates with few votes are removed. Source: V2L Tokenizer, arXiv 2403.07874, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from v2l.codebook.codebook import Codebook
from v2l.encoders.image_features import is_readable
from v2l.errors import V2LError
from v2l.processes import ALONE, World

TOP = 5  # number of candidates that one image votes for in the paper
CHUNK = 512  # images in one matrix product: bounds memory at 512 × V scores


@dataclass(frozen=True)
class Rule:
    """Which candidates the filter keeps: those with enough votes, and of these the ones with the most votes.

    Attributes:
        min_count: least number of votes; 0 keeps all.
        keep: largest number of candidates to keep; 0 for no limit.
        keep_share: largest share of the candidates to keep, in [0, 1]; 0 for no limit.
    """

    min_count: int = 1
    keep: int = 0
    keep_share: float = 0.0

    @classmethod
    def parse(cls, min_count: int, keep: str) -> Self:
        """The rule for a `--keep` argument: a number ("2000") or a share of the candidates ("20%").

        Raises:
            V2LError: `keep` is neither.
        """
        digits, share = keep.removesuffix("%"), keep.endswith("%")
        try:
            number = float(digits) / 100 if share else int(digits)
        except ValueError:
            number = -1
        if not 0 < number <= (1 if share else 10**9):
            raise V2LError(
                f"got --keep {keep}",
                "a number of words, or a share of the candidates in per cent",
                "--keep 2000, or --keep 20%",
            )
        return cls(min_count, keep_share=number) if share else cls(min_count, int(number))

    def rows(self, counts: Tensor) -> Tensor:
        """Counts (V,) int64 ──► the kept rows, ascending; among equal counts the lower rows are kept."""
        share = max(1, round(self.keep_share * len(counts))) if self.keep_share else 0
        limits = [limit for limit in (self.keep, share) if limit]
        # The stable sort puts the lower row first among equal counts, so the result does not depend on the
        # platform.
        most = counts.sort(descending=True, stable=True).indices[: min(limits, default=len(counts))]
        return most[counts[most] >= self.min_count].sort().values


def filter_candidates(candidates: Codebook, rule: Rule) -> Codebook:
    """The candidates that the rule keeps, in their order.

    The metadata of the result contain the rule, and how many candidates other thresholds would have kept.

    Raises:
        V2LError: no candidate is left.
    """
    counts = torch.tensor([entry.count for entry in candidates.entries])  # (V,)
    seen = {str(least): int((counts >= least).sum()) for least in _thresholds(int(counts.max()))}
    return candidates.select(
        rule.rows(counts), candidates=len(candidates), **vars(rule), seen_by_at_least=seen
    )


def count_votes(parts: Sequence[Tensor], candidates: Tensor, world: World = ALONE, top: int = TOP) -> Tensor:
    """Count the votes of images whose vectors lie in several tensors.

    Each process counts its share of the tensors.

    Args:
        parts: what `encode_files` returns.
        candidates: (V, D) float32 word vectors, unit length.
        world: the processes that count together.
        top: number of candidates that one image votes for.

    Returns:
        (V,) int64 votes of all images; the same in every process, and for any number of processes.
    """
    counts = torch.zeros(len(candidates), dtype=torch.int64)
    for part in parts[world.index :: world.count]:
        counts += count_top_candidates(part[is_readable(part)], candidates, top)
    return world.total(counts)


def count_top_candidates(features: Tensor, candidates: Tensor, top: int = TOP) -> Tensor:
    """Count, for each candidate, the images that have it among their `top` nearest candidates by cosine.

    Args:
        features: (n, D) float32 image vectors, unit length.
        candidates: (V, D) float32 word vectors, unit length.
        top: number of candidates that one image votes for.

    Returns:
        (V,) int64 votes; their sum is n · min(top, V).
    """
    counts = torch.zeros(len(candidates), dtype=torch.int64)
    for chunk in torch.split(features, CHUNK):
        nearest = (chunk @ candidates.T).topk(min(top, len(candidates)), dim=-1).indices  # (chunk, top)
        counts += torch.bincount(nearest.flatten(), minlength=len(candidates))
    return counts


def _thresholds(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50 … up to `most`."""
    series = [step * 10**power for power in range(len(str(most))) for step in (1, 2, 5)]
    return [threshold for threshold in series if threshold <= most]

"""an episode's vectors ──► the answer that needs no LLM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch.nn.functional import normalize

from v2l.datasets import Episode
from v2l.tasks.reading import ReadImage


def nearest_prototype(episode: Episode, images: Mapping[Path, ReadImage]) -> str:
    """The label whose mean support vector is nearest to the query's by cosine (Snell et al., arXiv 1703.05175).

    Args:
        episode: support and query.
        images: what was read of all of them.
    """
    prototypes = torch.stack(
        [
            normalize(torch.stack([images[shot.path].vector for shot in episode.support if shot.label == label]).mean(dim=0), dim=0)
            for label in episode.labels
        ]
    )  # (N, D)
    return episode.labels[int((prototypes @ images[episode.query.path].vector).argmax())]

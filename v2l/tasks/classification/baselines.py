"""an episode's words and vectors ──► the answers that need no LLM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.datasets import Episode
from v2l.encoders import JointEncoder
from v2l.pipeline.image_words import ImageWords

Images = Mapping[Path, ImageWords]
Names = Mapping[str, Tensor]


def baseline_answers(episode: Episode, images: Images, names: Names | None = None) -> dict[str, str]:
    """The label that each baseline chooses; of equals the first.

    Args:
        episode: support and query.
        images: what was read of all of them.
        names: per class its name's vector in the joint space, (D,); without them there is no zero-shot answer.
    """
    zero_shot = {} if names is None else {"zero-shot": nearest_name(episode, images, names)}
    return {
        "majority": majority(episode),
        "prototype": nearest_prototype(episode, images),
        **zero_shot,
        "shared words": most_shared_words(episode, images),
    }


def majority(episode: Episode) -> str:
    """The label that most of the support has."""
    counts = Counter(shot.label for shot in episode.support)
    return max(episode.labels, key=counts.__getitem__)


def nearest_prototype(episode: Episode, images: Images) -> str:
    """The label whose mean support vector is nearest to the query's by cosine (Snell et al., arXiv 1703.05175)."""
    prototypes = torch.stack(
        [
            normalize(
                torch.stack(
                    [images[shot.path].vector for shot in episode.support if shot.label == label]
                ).mean(dim=0),
                dim=0,
            )
            for label in episode.labels
        ]
    )  # (N, D)
    return episode.labels[int((prototypes @ images[episode.query.path].vector).argmax())]


def nearest_name(episode: Episode, images: Images, names: Names) -> str:
    """The label whose name is nearest to the query by cosine: zero-shot classification by the joint encoder (CLIP, arXiv 2103.00020)."""
    vectors = torch.stack([names[label] for label in episode.labels])  # (N, D)
    return episode.labels[int((vectors @ images[episode.query.path].vector).argmax())]


def most_shared_words(episode: Episode, images: Images) -> str:
    """The label whose images have the most words in common with the query, on average over its images."""
    words = set(images[episode.query.path].words)
    shared: dict[str, list[int]] = {label: [] for label in episode.labels}
    for shot in episode.support:
        shared[shot.label or ""].append(len(words.intersection(images[shot.path].words)))
    return max(episode.labels, key=lambda label: sum(shared[label]) / len(shared[label]))


def name_vectors(encoder: JointEncoder, labels: list[str]) -> dict[str, Tensor]:
    """Per label its vector (D,) in the joint space, on the CPU: the mean over the encoder's own templates, of unit length."""
    texts = [template.format(label) for label in labels for template in encoder.templates]
    vectors = encoder.encode_texts(texts).cpu().view(len(labels), len(encoder.templates), -1)
    return dict(zip(labels, normalize(vectors.mean(dim=1), dim=-1), strict=True))

"""an episode's words and vectors ──► the labels that baselines without an LLM predict."""

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


def predict_baselines(episode: Episode, images: Images, names: Names | None = None) -> dict[str, str]:
    """The label that each baseline predicts; ties go to the first label.

    Args:
        episode: support and query.
        images: words and vector of every image of the episode; without vectors there is no prototype.
        names: for each class the vector of its name in the joint space, (D,); without them the zero-shot
            baseline is left out.
    """
    has_vectors = images[episode.query.path].joint_vector is not None
    prototype = {"prototype": nearest_prototype(episode, images)} if has_vectors else {}
    zero_shot = {} if names is None else {"zero-shot": nearest_name(episode, images, names)}
    return {
        "majority": majority(episode),
        **prototype,
        **zero_shot,
        "shared words": most_shared_words(episode, images),
    }


def majority(episode: Episode) -> str:
    """The most frequent label of the support."""
    counts = Counter(shot.label for shot in episode.support)
    return max(episode.labels, key=counts.__getitem__)


def nearest_prototype(episode: Episode, images: Images) -> str:
    """The label whose mean support vector has the highest cosine with the query.

    Source: Snell et al., arXiv 1703.05175 (prototypical networks), with the joint encoder as embedding.
    """
    prototypes = []
    for label in episode.labels:
        vectors = [images[shot.path].vector for shot in episode.support if shot.label == label]
        prototypes.append(normalize(torch.stack(vectors).mean(dim=0), dim=0))
    return most_similar(episode, images, prototypes)


def nearest_name(episode: Episode, images: Images, names: Names) -> str:
    """The label whose name has the highest cosine with the query: zero-shot (CLIP, arXiv 2103.00020)."""
    return most_similar(episode, images, [names[label] for label in episode.labels])


def most_similar(episode: Episode, images: Images, vectors: list[Tensor]) -> str:
    """The label whose vector has the highest cosine with the query.

    Args:
        episode: N labels and a query.
        images: as above.
        vectors: for each label one vector of unit length, (D,).
    """
    cosines = torch.stack(vectors) @ images[episode.query.path].vector  # (N, D) @ (D,) → (N,)
    return episode.labels[int(cosines.argmax())]


def most_shared_words(episode: Episode, images: Images) -> str:
    """The label whose images share the most words with the query, averaged over the images of the label."""
    words = set(images[episode.query.path].words)
    shared: dict[str, list[int]] = {label: [] for label in episode.labels}
    for shot in episode.support:
        shared[shot.label or ""].append(len(words.intersection(images[shot.path].words)))
    return max(episode.labels, key=lambda label: sum(shared[label]) / len(shared[label]))


def name_vectors(encoder: JointEncoder, labels: list[str]) -> dict[str, Tensor]:
    """For each label the vector (D,) of its name in the joint space, on the CPU, of unit length.

    It is the mean over the templates of the encoder ("a photo of a {}" and others).
    """
    texts = [template.format(label) for label in labels for template in encoder.templates]
    vectors = encoder.encode_texts(texts).cpu().view(len(labels), len(encoder.templates), -1)  # (N, T, D)
    return dict(zip(labels, normalize(vectors.mean(dim=1), dim=-1), strict=True))

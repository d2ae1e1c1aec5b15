"""photographs + a trained SeTok ──► how near the images from its tokens come, beside those from plain means.

The figure of a photograph is the perceptual distance of its centre square to what the detokenizer paints; the
network is none of the training loss. Baselines with the same number of tokens: the plain means of k-means
clusters, which the same detokenizer was trained on, and k-means clusters through the merger. The trivial one
is the mean colour. Source: SeTok, arXiv 2406.05127, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.evaluation.table import markdown_table
from v2l.images import load_image, resize_and_crop
from v2l.metrics import Mean, psnr
from v2l.perceptual import PerceptualDistance, load_perceptual, report_network
from v2l.progress import Progress, silent
from v2l.sources import ImageFile
from v2l.tokenizers.clusters.k_means import k_means_members
from v2l.tokenizers.clusters.model import ClusterTokenizer, cluster_points
from v2l.tokenizers.clusters.network import ClusterNetwork
from v2l.tokenizers.cnn.encoder import to_image_range, to_network_range
from v2l.tokenizers.contract import ImageTokenizer

OWN, MEANS, MERGED, COLOUR = "clusters, merged", "k-means, means", "k-means, merged", "mean colour"
METHODS = (OWN, MEANS, MERGED, COLOUR)
FIGURES = ("distance", "psnr")


def evaluate_detokenizer(
    tokenizer: ImageTokenizer, files: Sequence[ImageFile], seed: int = 0, progress: Progress = silent
) -> dict[str, Any]:
    """Measure a detokenizer: figures with 95 % intervals.

    Args:
        tokenizer: setok, trained.
        files: photographs, at least two.
        seed: of k-means.
        progress: called for every photograph.

    Raises:
        V2LError: the tokenizer has no trained detokenizer, or a photograph cannot be read.
    """
    if not isinstance(tokenizer, ClusterTokenizer) or tokenizer.network is None:
        raise V2LError(
            f"the tokenizer {tokenizer.NAME!r} has no trained detokenizer",
            "a checkpoint of v2l train-setok",
            "--tokenizer runs/setok/model",
        )
    if len(files) < 2:
        raise V2LError(f"got {len(files)} photograph(s)", "2 and more", "a folder of photographs")
    distance = load_perceptual(report_network(tokenizer.loss_network), tokenizer.device)
    assert distance is not None
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in METHODS}
    counts: list[float] = []
    for place, file in enumerate(files):
        count, painted, square = paint(tokenizer, load_image(file), seed)
        counts.append(count)
        for name, image in painted.items():
            rows[name].append(compare(distance, image, square))
        progress("painting photographs", place + 1, len(files))
    return {"network": distance.name, **report(rows), "tokens": Mean.of(counts).to_dict(), "n": len(files)}


@torch.inference_mode()
def paint(
    tokenizer: ClusterTokenizer, photograph: Tensor, seed: int
) -> tuple[int, dict[str, Tensor], Tensor]:
    """A photograph (3, H, W) in [0, 1] ──► its number of tokens, each method's image, and the square itself.

    Images and square are (1, 3, S, S) in [0, 1].
    """
    network, trained = tokenizer.network, tokenizer.trained
    assert network is not None
    assert trained is not None
    side = tokenizer.cluster_settings.side
    large = resize_and_crop(photograph, side)[None].to(tokenizer.device)
    square = resize_and_crop(photograph, trained.network.image_size)[None].to(tokenizer.device)
    features = tokenizer.patch_features(large)
    division = tokenizer.divide(large, features)[0]
    count = len(division.features)
    points = cluster_points(features[0], tokenizer.cluster_settings).flatten(0, 1)
    own = division.members[None]
    others = k_means_members(points, count, seed)[None]
    return (
        count,
        {
            OWN: _painted(network, features, own, count, merged=True),
            MEANS: _painted(network, features, others, count, merged=False),
            MERGED: _painted(network, features, others, count, merged=True),
            COLOUR: square.mean(dim=(2, 3), keepdim=True).expand_as(square),
        },
        square,
    )


def compare(distance: PerceptualDistance, image: Tensor, square: Tensor) -> tuple[float, float]:
    """Two images (1, 3, S, S) in [0, 1] ──► their perceptual distance, and the PSNR in dB."""
    with torch.inference_mode():
        value = distance(to_network_range(image), to_network_range(square))
    return value.item(), psnr(image, square).item()


def report(rows: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """The figures of each method, and of the first minus each other one, photograph by photograph."""
    columns = {name: list(zip(*pairs, strict=True)) for name, pairs in rows.items()}
    return {
        "figures": {
            name: {figure: Mean.of(values).to_dict() for figure, values in zip(FIGURES, found, strict=True)}
            for name, found in columns.items()
        },
        "clusters_minus": {
            name: {
                figure: Mean.of([mine - its for mine, its in zip(own, other, strict=True)]).to_dict()
                for figure, own, other in zip(FIGURES, columns[OWN], found, strict=True)
            }
            for name, found in columns.items()
            if name != OWN
        },
        "protocol": "detokenizer: centre squares; as many tokens for every method, photograph by photograph",
    }


def page(found: dict[str, Any]) -> str:
    """The figures for people."""
    rows = [
        [
            name,
            *(_text(figures[figure]) for figure in FIGURES),
            "" if name == OWN else _text(found["clusters_minus"][name]["distance"], signed=True),
        ]
        for name, figures in found["figures"].items()
    ]
    head = ["tokens", f"distance by {found['network']}", "PSNR, dB", "clusters minus it: distance"]
    return "\n".join(
        [
            f"{found['n']} photographs, {_text(found['tokens'])} tokens an image, 95 % intervals",
            "",
            markdown_table(head, rows),
        ]
    )


def _painted(network: ClusterNetwork, features: Tensor, members: Tensor, count: int, merged: bool) -> Tensor:
    tokens = (network.merger if merged else network.means)(features, members, count)
    images: Tensor = to_image_range(network.detokenizer(tokens))
    return images


def _text(figure: dict[str, Any], signed: bool = False) -> str:
    low, high = figure["interval"]
    sign = "+" if signed else ""
    return f"{figure['value']:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"

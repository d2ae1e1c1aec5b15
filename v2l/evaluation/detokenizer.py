"""photographs + a trained SeTok ──► how near the images from its tokens come, beside those from plain means.

The figure of a photograph is the perceptual distance of its centre square to what the detokenizer paints; the
network is none of the training loss. Baselines with the same number of tokens: the plain means of k-means
clusters, which the same detokenizer was trained on, and k-means clusters through the merger. Without a
network: the mean colour, the mean colour of each cluster on the cluster map, the draft, if there is one, and
the photograph shrunk until it has as many numbers as the tokens' colours, or as the whole tokens. Source:
SeTok, arXiv 2406.05127, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.evaluation.reconstruction import PSNR_OF_EQUAL_IMAGES
from v2l.evaluation.table import figure_text, markdown_table
from v2l.images import load_image, resize, resize_and_crop
from v2l.metrics import Mean, psnr
from v2l.perceptual import PerceptualDistance, load_perceptual, report_network
from v2l.progress import Progress, silent
from v2l.sources import ImageFile
from v2l.tokenizers.clusters.colour_fields import fields_of_map, fit_colours, paint_colours
from v2l.tokenizers.clusters.model import ClusterTokenizer, k_means_map
from v2l.tokenizers.clusters.network import ClusterNetwork, DividedImages
from v2l.tokenizers.cnn.encoder import to_image_range, to_network_range
from v2l.tokenizers.contract import ImageTokenizer

OWN, MEANS, MERGED, COLOUR = "clusters, merged", "k-means, means", "k-means, merged", "mean colour"
DRAFT, MAP = "clusters, the draft alone", "mean colour of each cluster"
SMALL, LARGE = "shrunk, numbers of the colours", "shrunk, numbers of the tokens"
METHODS = (OWN, MEANS, MERGED, DRAFT, MAP, SMALL, LARGE, COLOUR)
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
    rows: dict[str, list[tuple[float, float]]] = {}
    counts: list[float] = []
    for place, file in enumerate(files):
        count, painted, square = paint(tokenizer, load_image(file), seed)
        counts.append(count)
        for name, image in painted.items():
            rows.setdefault(name, []).append(compare(distance, image, square))
        progress("painting photographs", place + 1, len(files))
    return {"network": distance.name, **report(rows), "tokens": Mean.of(counts).to_dict(), "n": len(files)}


@torch.inference_mode()
def paint(
    tokenizer: ClusterTokenizer, photograph: Tensor, seed: int
) -> tuple[int, dict[str, Tensor], Tensor]:
    """A photograph (3, H, W) in [0, 1] ──► its number of tokens, each method's image, and the square itself.

    Images and square are (1, 3, S, S) in [0, 1].
    """
    network, settings = tokenizer.network, tokenizer.cluster_settings
    assert network is not None
    large = resize_and_crop(photograph, settings.side)[None].to(tokenizer.device)
    square = resize_and_crop(photograph, network.settings.image_size)[None].to(tokenizer.device)
    features = tokenizer.patch_features(large)
    division = tokenizer.divide(large, features)[0]
    count, seen = len(division.features), to_network_range(square)
    cells, members = k_means_map(features[0], settings, count, seed)
    own = DividedImages(features, division.members[None], division.cells[None], seen)
    others = DividedImages(features, members[None], cells[None], seen)
    painted = {
        OWN: _painted(network, own, merged=True),
        MEANS: _painted(network, others, merged=False),
        MERGED: _painted(network, others, merged=True),
    }
    return count, painted | without_network(network, own, square), square


def without_network(network: ClusterNetwork, own: DividedImages, square: Tensor) -> dict[str, Tensor]:
    """What needs no network, of one image: images (1, 3, S, S) in [0, 1]."""
    settings, count = network.settings, int(own.members.max()) + 1
    fields = fields_of_map(own.cells, count, settings.image_size, terms=1)
    found = {
        MAP: paint_colours(fit_colours(square, fields), fields),
        LARGE: shrunk(square, count * settings.vector_width),
        COLOUR: square.mean(dim=(2, 3), keepdim=True).expand_as(square),
    }
    if settings.colour_terms:
        tokens = network.tokens(own, 1)
        found[DRAFT] = to_image_range(network.detokenizer.draft(tokens, network.detokenizer.fields(tokens)))
        found[SMALL] = shrunk(square, count * 3 * settings.colour_terms**2)
    return found


def shrunk(square: Tensor, numbers: int) -> Tensor:
    """A square (1, 3, S, S) ──► shrunk to about so many numbers, three a pixel, and enlarged again."""
    side = min(max(1, round((numbers / 3) ** 0.5)), square.shape[-1] - 1)  # never the square itself
    return resize(resize(square, (side, side)), (square.shape[-2], square.shape[-1]))


def compare(distance: PerceptualDistance, image: Tensor, square: Tensor) -> tuple[float, float]:
    """Two images (1, 3, S, S) in [0, 1] ──► their perceptual distance, and the capped PSNR in dB."""
    with torch.inference_mode():
        value = distance(to_network_range(image), to_network_range(square))
    return value.item(), psnr(image, square).clamp(max=PSNR_OF_EQUAL_IMAGES).item()


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
            *(figure_text(found["figures"][name][figure]) for figure in FIGURES),
            "" if name == OWN else figure_text(found["clusters_minus"][name]["distance"], signed=True),
        ]
        for name in METHODS
        if name in found["figures"]
    ]
    head = ["tokens", f"distance by {found['network']}", "PSNR, dB", "clusters minus it: distance"]
    return "\n".join(
        [
            f"{found['n']} photographs, {figure_text(found['tokens'])} tokens an image, 95 % intervals",
            "",
            markdown_table(head, rows),
        ]
    )


def _painted(network: ClusterNetwork, divided: DividedImages, merged: bool) -> Tensor:
    images: Tensor = to_image_range(network.detokenizer(network.tokens(divided, int(merged))))
    return images

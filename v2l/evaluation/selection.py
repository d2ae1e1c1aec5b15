"""photographs + a selection (LaVIT) ──► how much of the frozen features the kept patches bring back.

The figure of a photograph is the mean cosine of rebuilt and frozen features over all of its patches. The
selector's choice stands beside two others of the same number: patches at equal steps in raster order, and
patches drawn at random. With a draft, two more rows: the draft alone, without any trained weight, of patches
at equal steps; and the mean feature, which knows nothing of the photograph. Source: LaVIT, arXiv 2309.04669,
section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from v2l.errors import V2LError
from v2l.evaluation.table import figure_text, markdown_table
from v2l.images import load_image
from v2l.metrics import Mean
from v2l.progress import Progress, silent
from v2l.sources import ImageFile
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.selection.model import SelectionTokenizer
from v2l.tokenizers.selection.selector import keep_best

OWN, UNIFORM, RANDOM = "own choice", "uniform", "random"
METHODS = (OWN, UNIFORM, RANDOM)
TRAINED = "trained selector"  # where another choice is the tokenizer's own
DRAFT, MEAN = "uniform, draft", "mean feature"
RATIOS = (0.2, 0.33, 0.5)


def evaluate_selection(
    tokenizer: ImageTokenizer,
    files: Sequence[ImageFile],
    ratios: Sequence[float] = RATIOS,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure a selection: figures with 95 % intervals for each share of kept patches.

    Args:
        tokenizer: lavit.
        files: photographs, at least two.
        ratios: shares of patches to keep.
        seed: of the random choice.
        progress: called for every photograph.

    Raises:
        V2LError: the tokenizer selects no patches, or a photograph cannot be read.
    """
    if not isinstance(tokenizer, SelectionTokenizer):
        raise V2LError(
            f"the tokenizer {tokenizer.NAME!r} does not select patches", "lavit", "--tokenizer lavit"
        )
    if len(files) < 2:
        raise V2LError(f"got {len(files)} photograph(s)", "2 and more", "a folder of photographs")
    cosines: dict[tuple[float, str], list[float]] = {}
    shares: list[float] = []
    for place, file in enumerate(files):
        features, chances = _features(tokenizer, load_image(file))
        shares.append(tokenizer.choose(features).mean().item())
        generator = torch.Generator().manual_seed(seed * 1_000_003 + place)
        for ratio in ratios:
            kept_by = choices(tokenizer.choose(features, ratio), generator)
            if tokenizer.selection_settings.chooses == "draft":
                kept_by[TRAINED] = keep_best(chances, ratio)
            for name, kept in kept_by.items():
                cosines.setdefault((ratio, name), []).append(_cosine(tokenizer, features, kept))
                if name == UNIFORM:
                    for other, value in _untrained(tokenizer, features, kept).items():
                        cosines.setdefault((ratio, other), []).append(value)
        progress("rebuilding features", place + 1, len(files))
    return _report(cosines, shares, ratios)


def choices(own: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Three choices of equally many patches, each (1, n) of 0 and 1.

    Args:
        own: (1, n), what the tokenizer keeps.
        generator: of the random choice.
    """
    count, total = int(own.sum()), own.shape[1]
    even = (torch.arange(count) + 0.5) * total / count
    drawn = torch.randperm(total, generator=generator)[:count]
    places = {UNIFORM: even.long(), RANDOM: drawn}
    return {OWN: own} | {
        name: torch.zeros_like(own).index_fill(1, some.to(own.device), 1.0) for name, some in places.items()
    }


def page(found: dict[str, Any]) -> str:
    """The figures for people."""
    shown = [
        name for name in (*METHODS, TRAINED, DRAFT, MEAN) if name in next(iter(found["cosine"].values()))
    ]
    differences = ["minus_uniform", "minus_random"]
    rows = [
        [
            ratio,
            *(figure_text(figures[name]) for name in shown),
            *(figure_text(figures[name], signed=True) for name in differences),
        ]
        for ratio, figures in found["cosine"].items()
    ]
    kept = found["kept_by_the_selector"]
    head = ["patches kept", *shown, "own minus uniform", "own minus random"]
    return "\n".join(
        [
            f"{found['n']} photographs, mean cosine of rebuilt and frozen features, 95 % intervals",
            "",
            markdown_table(head, rows),
            "",
            f"without a ratio it keeps a share of {figure_text(kept)}",
        ]
    )


@torch.inference_mode()
def _features(tokenizer: SelectionTokenizer, image: Tensor) -> tuple[Tensor, Tensor]:
    """The frozen features (1, h, w, C) of an image, and the selector's log-probabilities (1, n, 2)."""
    encoder = tokenizer.joint_encoder
    features = encoder.patch_features(image[None], tokenizer.selection_settings.side)
    return features, tokenizer.network.selector(tokenizer.network.patches(features))


def _cosine(tokenizer: SelectionTokenizer, features: Tensor, kept: Tensor) -> float:
    """The mean cosine over the patches of one image."""
    rebuilt = tokenizer.rebuild(tokenizer.read(features, kept))
    return cosine_similarity(rebuilt, features, dim=-1).mean().item()


@torch.inference_mode()
def _untrained(tokenizer: SelectionTokenizer, features: Tensor, kept: Tensor) -> dict[str, float]:
    """The cosines of the draft alone and of the mean feature, of one image; none without a draft."""
    network = tokenizer.network
    if network.draft is None:
        return {}
    joint = tokenizer.joint_encoder.to_joint_space(features).flatten(1, 2)
    codes = network.unread_codes(network.starts(features, joint))
    draft = network.draft(codes, kept, (features.shape[1], features.shape[2]))
    wanted = features.flatten(1, 2)
    return {
        DRAFT: cosine_similarity(draft, wanted, dim=-1).mean().item(),
        MEAN: cosine_similarity(network.draft.mean, wanted, dim=-1).mean().item(),
    }


def _report(
    cosines: dict[tuple[float, str], list[float]], shares: Sequence[float], ratios: Sequence[float]
) -> dict[str, Any]:
    """The object for programs."""
    figures: dict[str, Any] = {}
    for ratio in ratios:
        rows = {name: values for (share, name), values in cosines.items() if share == ratio}
        differences = {
            f"minus_{other}": [own - its for own, its in zip(rows[OWN], rows[other], strict=True)]
            for other in (UNIFORM, RANDOM)
        }
        figures[f"{ratio:g}"] = {
            name: Mean.of(values).to_dict() for name, values in {**rows, **differences}.items()
        }
    return {
        "cosine": figures,
        "kept_by_the_selector": Mean.of(shares).to_dict(),
        "n": len(shares),
        "protocol": "selection: mean cosine over all patches; equally many patches for every choice",
    }

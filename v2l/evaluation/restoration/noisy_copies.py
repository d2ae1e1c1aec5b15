"""tokens of a clean image ──► the ten noisy copies that the paper's prompts use as examples.

The copies hold most of the answer: a vote over them is nearly perfect without an LLM. They are therefore for
evaluation on clean images only (`--protocol paper`). Source: V2L Tokenizer, arXiv 2403.07874, section 4.3;
the official code where the paper is silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RATES = (0.50, 0.47, 0.44, 0.41, 0.38, 0.35, 0.32, 0.29, 0.26, 0.23)  # shares of replaced tokens
GLOBAL_TOKENS = 21  # the official code counts them in when it computes the number of replaced tokens


@dataclass(frozen=True)
class NoisyCopy:
    """One noisy copy of an image's tokens.

    Attributes:
        clean: h · w token ids of the clean image, some of them replaced.
        corrupted: those of the corrupted image, with the same replacements in the same cells; equal to
            `clean` where cells are masked and nothing is corrupted.
    """

    clean: tuple[int, ...]
    corrupted: tuple[int, ...]


def noisy_copies(
    clean: Tensor, corrupted: Tensor, codes: Tensor, generator: torch.Generator, official: bool = False
) -> list[NoisyCopy]:
    """Make the ten noisy copies.

    Args:
        clean: (h, w) int64 token ids.
        corrupted: (h, w) int64 token ids.
        codes: (V,) int64 ids from which replacements are drawn.
        generator: of cells and replacements.
        official: count the global tokens in, which makes the copies a little noisier.
    """
    cells = clean.numel()
    copies = []
    for rate in RATES:
        count = int(rate * (cells + GLOBAL_TOKENS * official))
        places = torch.randperm(cells, generator=generator)[:count]
        noise = codes[torch.randint(len(codes), (len(places),), generator=generator)]
        noisy_clean, noisy_corrupted = clean.flatten().clone(), corrupted.flatten().clone()
        noisy_clean[places] = noise
        noisy_corrupted[places] = noise
        copies.append(NoisyCopy(tuple(noisy_clean.tolist()), tuple(noisy_corrupted.tolist())))
    return copies


def vote(copies: Sequence[NoisyCopy], cell: int) -> int:
    """The id that most clean copies hold in a cell: the answer without an LLM.

    The last copy, the cleanest one, decides between ids with as many votes.
    """
    held = [copy.clean[cell] for copy in reversed(copies)]
    return Counter(held).most_common(1)[0][0]

"""the tokens of a clean image ──► the ten noisy copies that the paper shows the LLM as examples.

They hold most of the answer: a vote over the copies has nearly all of it without an LLM. So they are for evaluation on clean images only
(`--protocol paper`). Source: V2L Tokenizer, arXiv 2403.07874, section 4.3; the official code where the paper is silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RATES = (0.50, 0.47, 0.44, 0.41, 0.38, 0.35, 0.32, 0.29, 0.26, 0.23)  # noisiest first
GLOBAL_TOKENS = 21  # which the official code counts in when it sizes the noise


@dataclass(frozen=True)
class Support:
    """One noisy copy.

    Attributes:
        clean: h · w token ids of the clean image, some of them replaced.
        damaged: those of the damaged image, replaced at the same places by the same ids; equal to `clean` where nothing is damaged.
    """

    clean: tuple[int, ...]
    damaged: tuple[int, ...]


def noisy_copies(
    clean: Tensor, damaged: Tensor, codes: Tensor, generator: torch.Generator, official: bool = False
) -> list[Support]:
    """The ten supports.

    Args:
        clean: (h, w) int64 token ids.
        damaged: (h, w) int64 token ids.
        codes: (V,) int64 ids to draw replacements from.
        generator: of places and replacements.
        official: count the global tokens in, which makes the copies a little noisier.
    """
    cells = clean.numel()
    supports = []
    for rate in RATES:
        count = int(rate * (cells + GLOBAL_TOKENS * official))
        places = torch.randperm(cells, generator=generator)[:count]
        noise = codes[torch.randint(len(codes), (len(places),), generator=generator)]
        copies = [ids.flatten().clone() for ids in (clean, damaged)]
        for copy in copies:
            copy[places] = noise
        supports.append(Support(*(tuple(copy.tolist()) for copy in copies)))
    return supports


def vote(supports: Sequence[Support], cell: int) -> int:
    """The id that most clean copies hold at a cell, of equal ones the last copy's, which is the cleanest: the answer without an LLM."""
    held = [support.clean[cell] for support in reversed(supports)]
    return Counter(held).most_common(1)[0][0]

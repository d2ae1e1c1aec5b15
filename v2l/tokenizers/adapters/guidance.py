"""patch features of the images of a set ──► soft tokens of each, conditioned on the other images (SAM).

Source: SAM, arXiv 2408.12867, section 3: a Q-former gives first tokens T_i of each image; a W-former reads
the other images with T_i and gives contextual semantics C_i; the Q-former reads image i again, guided by C_i.
The paper leaves open where C_i enters and how often this is done; both are options.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn

from v2l.errors import V2LError
from v2l.tokenizers.positions import sine_positions

INJECTIONS = ("append", "add")
EXPANSION = 2  # of the two-layer network


@dataclass(frozen=True)
class Guidance:
    """How the images of a set guide each other.

    Attributes:
        rounds: how often the W-former and the guided Q-former follow; 0 reads each image alone.
        injection: where C_i enters. append: as further queries, which the others attend to; add: added to
            the queries.
    """

    rounds: int = 1
    injection: str = "append"

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.injection not in INJECTIONS:
            got = f"got {self.rounds} rounds of guidance with the injection {self.injection!r}"
            raise V2LError(
                got, f"0 rounds and more; {', '.join(INJECTIONS)}", "--rounds 1 --injection append"
            )


class QFormer(nn.Module):
    """One layer: queries attend to each other and to the patches of their image, then a two-layer network.

    Args:
        width: of queries and of keys, a multiple of 4 and of `heads`.
        tokens: N, number of queries, a square number.
        heads: of both attentions.
    """

    def __init__(self, width: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.side = isqrt(tokens)
        self.queries = nn.Parameter(nn.init.trunc_normal_(torch.empty(tokens, width), std=0.02))
        self.self_norm, self.cross_norm, self.last_norm = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        hidden = EXPANSION * width
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, keys: Tensor, values: Tensor, context: Tensor | None, injection: str) -> Tensor:
        """Patches (n, P, width) and contextual semantics (n, N, width) or None ──► tokens (n, N, width)."""
        count, width = self.queries.shape
        places = sine_positions((self.side, self.side), width).flatten(0, 1).to(values)
        queries = (self.queries + places).expand(len(values), -1, -1)
        if context is not None and injection == "add":
            queries = queries + context
        elif context is not None:
            queries = torch.cat([queries, context], dim=1)  # (n, 2N, width)
        normed = self.self_norm(queries)
        queries = queries + self.self_attention(normed, normed, normed, need_weights=False)[0]
        queries = queries[:, :count]  # what was appended has done its work
        read, _ = self.cross_attention(self.cross_norm(queries), keys, values, need_weights=False)
        queries = queries + read
        tokens: Tensor = queries + self.layers(self.last_norm(queries))
        return tokens


class WFormer(nn.Module):
    """Reads the other images of a set with the tokens of one, and weighs what each of them gives.

    Args:
        width: of tokens and patches.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.own, self.other = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Tokens (n, N, width) and patches (n, P, width) of a set ──► contextual semantics C (n, N, width).

        C_i = Σ_{j ≠ i} a_ij R_ij: R_ij is what T_i reads in image j; the weights a_ij of image i are a
        softmax, over the other images, of how much the mean of R_ij has to do with the mean of T_i.
        """
        n = len(tokens)
        queries = self.norm(tokens).repeat_interleave(n, dim=0)  # (n · n, N, width), i before j
        read, _ = self.attention(queries, keys.repeat(n, 1, 1), values.repeat(n, 1, 1), need_weights=False)
        read = read.unflatten(0, (n, n))  # (n, n, N, width)
        own, other = self.own(tokens.mean(dim=1)), self.other(read.mean(dim=2))  # (n, width), (n, n, width)
        scores = torch.einsum("iw,ijw->ij", own, other) / math.sqrt(own.shape[-1])
        alone = torch.eye(n, dtype=torch.bool, device=scores.device)
        weights = scores.masked_fill(alone, -math.inf).softmax(dim=-1)
        return torch.einsum("ij,ijnw->inw", weights, read)


class GuidedFormer(nn.Module):
    """Q-former and W-former of one adapter.

    Args:
        channels: C, width of the features.
        width: of the LLM's input embeddings.
        tokens: N, soft tokens an image.
        heads: of all attentions.

    Attributes:
        guidance: options; they change no weights.
    """

    def __init__(self, channels: int, width: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.guidance = Guidance()
        project = nn.Linear(channels, width, bias=False)
        self.input = nn.Sequential(nn.LayerNorm(channels), project, nn.LayerNorm(width))
        self.q_former, self.w_former = QFormer(width, tokens, heads), WFormer(width, heads)
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(self, features: Tensor, together: bool = False) -> Tensor:
        """Features (n, h, w, C) ──► soft tokens (n, N, width).

        Args:
            features: of n images.
            together: whether they are one set, whose images guide each other; else each is read alone.
        """
        side = self.q_former.side
        values = self.input(features.flatten(1, 2))  # (n, P, width)
        places = sine_positions((features.shape[1], features.shape[2]), values.shape[-1], (side, side))
        keys, injection = values + places.flatten(0, 1).to(values), self.guidance.injection
        tokens = self.q_former(keys, values, None, injection)
        for _ in range(self.guidance.rounds if together and len(features) > 1 else 0):
            context = self.w_former(tokens, keys, values)
            tokens = self.q_former(keys, values, context, injection)
        soft: Tensor = self.output(tokens)
        return soft

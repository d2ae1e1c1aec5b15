"""token ids ──► unit vectors by a causal text tower, running only the positions that matter.

Under a causal mask no position attends to a later one, and the vector is read at the last token of the text.
Two consequences save work. The padding behind the last token is never run. A prefix that many texts share ("a
photo of a") is run once: its keys and values are stored (prefix cache), and each text continues at its own
absolute positions. The vectors equal those of padded texts, up to rounding. Frozen: the tower. Source: CLIP,
arXiv 2103.00020, section 2.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Row = tuple[int, ...]
KeysValues = tuple[Tensor, Tensor]
POSITIONS = 8192  # positions per batch, padding included: bounds memory
CPU_POSITIONS = 512  # the same on a CPU, where larger batches leave the cache and are slower


@dataclass(frozen=True)
class Beginning:
    """The prefix cache: a prefix of many texts, and its keys and values in every block.

    Attributes:
        ids: P token ids, 0 or more.
        kept: keys and values of each block, (1, heads, P, C / heads).
    """

    ids: Row
    kept: tuple[KeysValues, ...]

    def begins(self, row: Row) -> bool:
        """Whether a row begins with these ids and has at least one of its own."""
        return len(row) > len(self.ids) and row[: len(self.ids)] == self.ids


@dataclass(frozen=True)
class CausalTower:
    """A text tower of pre-norm blocks under a causal mask, read at the end of the text.

    Attributes:
        text: has token_embedding, positional_embedding, transformer.resblocks, ln_final and text_projection,
            as open_clip calls them.
        end_id: the id that ends a text; None where it is the highest of them all.
    """

    text: Any  # an nn.Module of open_clip, whose attributes have no types
    end_id: int | None = None

    def cut(self, rows: Tensor) -> list[Row]:
        """(N, context) padded ids ──► N rows, each up to the position that its vector is read at."""
        ends = (rows if self.end_id is None else (rows == self.end_id).int()).argmax(dim=-1)
        return [tuple(row[: end + 1]) for row, end in zip(rows.tolist(), ends.tolist(), strict=True)]

    @torch.inference_mode()
    def begin(self, ids: Row) -> Beginning:
        """Run a prefix that many texts share, and keep its keys and values."""
        attentions = [block.attn for block in self.text.transformer.resblocks]
        # Keys and values of zero positions: (1, heads, 0, C / heads).
        none = tuple(
            (attention.in_proj_weight.new_zeros(1, attention.num_heads, 0, attention.head_dim),) * 2
            for attention in attentions
        )
        return Beginning(ids, self._run([ids], Beginning((), none))[1] if ids else none)

    @torch.inference_mode()
    def encode(self, rows: Sequence[Row], beginning: Beginning) -> Tensor:
        """Encode texts.

        Args:
            rows: N texts as token ids, each cut behind the position that its vector is read at.
            beginning: the prefix cache; a row that does not begin with the prefix is run from its first
                token.

        Returns:
            (N, D) float32, unit length.
        """
        device: torch.device = self.text.positional_embedding.device
        limit = CPU_POSITIONS if device.type == "cpu" else POSITIONS
        vectors, order = [], []
        for start, begins in ((beginning, True), (self.begin(()), False)):
            rests = {
                place: row[len(start.ids) :]
                for place, row in enumerate(rows)
                if beginning.begins(row) is begins
            }
            for places in batches(rests, limit):
                vectors.append(self._pool([rests[place] for place in places], start))
                order += places
        # `order` holds the original place of each computed row; its argsort restores the order of `rows`.
        return torch.cat(vectors)[torch.tensor(order, device=device).argsort()]

    def _pool(self, rows: Sequence[Row], beginning: Beginning) -> Tensor:
        """(B, D) float32: the vectors at the last tokens of B rows that follow a beginning."""
        hidden, _ = self._run(rows, beginning)
        last = torch.tensor([len(row) - 1 for row in rows], device=hidden.device)
        pooled = self.text.ln_final(hidden[torch.arange(len(rows), device=hidden.device), last])
        projection = self.text.text_projection
        if projection is not None:
            pooled = projection(pooled) if isinstance(projection, nn.Module) else pooled @ projection
        return functional.normalize(pooled.float(), dim=-1)

    def _run(self, rows: Sequence[Row], beginning: Beginning) -> tuple[Tensor, tuple[KeysValues, ...]]:
        """Compute hidden states (B, L, C) of B rows after a prefix of P tokens.

        It also returns the keys and values of all P + L positions.

        The rows are padded on the right. No token of a text attends to the padding, because the mask is
        causal.
        """
        before, longest = len(beginning.ids), max(map(len, rows))
        places = self.text.positional_embedding[before : before + longest]
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=places.device)
        hidden = self.text.token_embedding(ids) + places
        # Row i is position P + i: it attends to positions 0 … P + i, so the triangle is shifted by P.
        seen = torch.ones(longest, before + longest, dtype=torch.bool, device=places.device).tril(before)
        kept = []
        for block, past in zip(self.text.transformer.resblocks, beginning.kept, strict=True):
            attended, now = attend(block.attn, block.ln_1(hidden), past, seen)
            hidden = hidden + block.ls_1(attended)
            hidden = hidden + block.ls_2(block.mlp(block.ln_2(hidden)))
            kept.append(now)
        return hidden, tuple(kept)


def attend(
    attention: nn.MultiheadAttention, hidden: Tensor, past: KeysValues, seen: Tensor
) -> tuple[Tensor, KeysValues]:
    """Self-attention that also attends to cached earlier positions: softmax(Q Kᵀ / √d) V.

    Args:
        attention: the block's own, batch first.
        hidden: (B, L, C).
        past: keys and values of P earlier positions, the same for all rows, (1, heads, P, C / heads).
        seen: (L, P + L) bool, True where a position may attend.

    Returns:
        (B, L, C), and the keys and values of all P + L positions.
    """
    projected = functional.linear(hidden, attention.in_proj_weight, attention.in_proj_bias)  # (B, L, 3 C)
    heads = projected.view(*projected.shape[:2], 3, attention.num_heads, attention.head_dim)
    query, key, value = heads.permute(2, 0, 3, 1, 4)  # (B, L, 3, heads, d) ──► 3 × (B, heads, L, d)
    batch = len(hidden)
    keys = torch.cat([past[0].expand(batch, -1, -1, -1), key], dim=2)  # (B, heads, P + L, d)
    values = torch.cat([past[1].expand(batch, -1, -1, -1), value], dim=2)
    attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=seen)
    merged = attended.transpose(1, 2).flatten(2)  # (B, heads, L, d) ──► (B, L, C)
    return attention.out_proj(merged), (keys, values)


def batches(rows: Mapping[int, Row], limit: int) -> Iterator[list[int]]:
    """Places of rows, shortest rows first, as many at a time as `limit` padded positions hold."""
    batch: list[int] = []
    for place in sorted(rows, key=lambda place: len(rows[place])):
        if batch and (len(batch) + 1) * len(rows[place]) > limit:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch

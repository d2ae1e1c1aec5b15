"""token ids ──► unit vectors by a causal text tower, running only the positions that matter.

No position of a causal tower sees a later one, and the vector is read at the end of the text. So what stands behind the end is never run,
and what many texts begin with is run once: its keys and values are kept, and each text goes on at its own absolute positions. The vectors
are those of the padded rows, up to rounding. Frozen: the tower. Source: CLIP, arXiv 2103.00020, section 2.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Row = tuple[int, ...]
KeysValues = tuple[Tensor, Tensor]
POSITIONS = 8192  # of a batch, padding included: bounds memory
CPU_POSITIONS = 512  # on a CPU more are slower: they leave its cache


@dataclass(frozen=True)
class Beginning:
    """What many texts begin with, and what the tower remembers of it.

    Attributes:
        ids: P token ids, 0 or more.
        kept: keys and values of each block, (1, heads, P, width of a head).
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
        text: has token_embedding, positional_embedding, transformer.resblocks, ln_final and text_projection, as open_clip calls them.
        end_id: the id that ends a text; None where it is the highest of them all.
    """

    text: nn.Module
    end_id: int | None = None

    def cut(self, rows: Tensor) -> list[Row]:
        """(N, context) padded ids ──► N rows, each up to the position that its vector is read at."""
        ends = (rows if self.end_id is None else (rows == self.end_id).int()).argmax(dim=-1)
        return [tuple(row[: end + 1]) for row, end in zip(rows.tolist(), ends.tolist(), strict=True)]

    @torch.inference_mode()
    def begin(self, ids: Row) -> Beginning:
        """Run what many texts begin with, once."""
        attentions = [block.attn for block in self.text.transformer.resblocks]
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
            beginning: what most of them begin with; a row that does not is run from its first token.

        Returns:
            (N, D) float32, unit length.
        """
        device = self.text.positional_embedding.device
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
        """Hidden states (B, L, C) of B rows that follow a beginning, padded on the right, where no real position looks; keys and values."""
        before, longest = len(beginning.ids), max(map(len, rows))
        places = self.text.positional_embedding[before : before + longest]
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=places.device)
        hidden = self.text.token_embedding(ids) + places
        seen = torch.ones(longest, before + longest, dtype=torch.bool, device=places.device).tril(before)
        kept = []
        for block, past in zip(self.text.transformer.resblocks, beginning.kept, strict=True):
            told, now = attend(block.attn, block.ln_1(hidden), past, seen)
            hidden = hidden + block.ls_1(told)
            hidden = hidden + block.ls_2(block.mlp(block.ln_2(hidden)))
            kept.append(now)
        return hidden, tuple(kept)


def attend(
    attention: nn.MultiheadAttention, hidden: Tensor, past: KeysValues, seen: Tensor
) -> tuple[Tensor, KeysValues]:
    """Self-attention that also looks at what stood before.

    Args:
        attention: the block's own, batch first.
        hidden: (B, L, C).
        past: keys and values of P earlier positions, the same for all rows, (1, heads, P, C / heads).
        seen: (L, P + L) bool, what each position may look at.

    Returns:
        (B, L, C), and the keys and values of all P + L positions.
    """
    projected = functional.linear(hidden, attention.in_proj_weight, attention.in_proj_bias)  # (B, L, 3 C)
    query, key, value = projected.unflatten(-1, (3, attention.num_heads, attention.head_dim)).permute(
        2, 0, 3, 1, 4
    )  # 3 × (B, heads, L, d)
    keys, values = (
        torch.cat([old.expand(len(hidden), -1, -1, -1), new], dim=2)
        for old, new in zip(past, (key, value), strict=True)
    )
    told = functional.scaled_dot_product_attention(query, keys, values, attn_mask=seen)
    return attention.out_proj(told.transpose(1, 2).flatten(2)), (keys, values)


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

"""one image's tokens ⇄ one row of a table, the same columns for every tokenizer.

docs/tokenize.md describes the columns for readers of the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import torch

from v2l.tokenizers.contract import PreparedTokens
from v2l.tokens import Boxes, CellGrid, ClusterMap, GridTokens, Layout, VisualTokens, Word

SCORE_DIGITS = 4  # decimals of scores, boxes and vectors
ERRORS = pa.schema([("id", pa.string()), ("reason", pa.string()), ("detail", pa.string())])
METADATA_KEY = b"v2l"


def table_schema(vectors: bool, metadata: Mapping[str, Any], soft: bool = False) -> pa.Schema:
    """The columns of the tokens' table.

    Args:
        vectors: whether there is a column for the joint space.
        metadata: what made the tokens; it is stored in the files under the key `v2l` as JSON.
        soft: whether there is a column for the number of soft tokens.
    """
    ids, numbers = pa.list_(pa.int32()), pa.list_(pa.float32())
    columns = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("rows", pa.int32()),  # of the grid of cells, or of the cluster map
        pa.field("columns", pa.int32()),
        pa.field("ids", ids),  # N tokens; the V2L grid's local ids in raster order
        pa.field("global_ids", ids),  # G rows of the global codebook; the V2L grid only
        pa.field("words", pa.list_(pa.string())),
        pa.field("scores", numbers),  # one for each word
        pa.field("boxes", numbers),  # 4 N: left, top, right, bottom of each token in shares of the sides
        pa.field("cells", ids),  # rows · columns: the token of each cell of a cluster map, or -1
        pa.field("embeddings", numbers),  # N · width of the LLM's input embeddings
        pa.field("caption", pa.string()),  # from the input
    ]
    if vectors:
        columns.append(pa.field("vector", numbers))  # D
    if soft:
        columns.append(pa.field("soft_tokens", pa.int32()))  # N
    text = json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False)
    return pa.schema(columns, metadata={METADATA_KEY: text.encode()})


def to_row(name: str, caption: str | None, size: tuple[int, int], encoded: PreparedTokens) -> dict[str, Any]:
    """The row of one image.

    Args:
        name: its id.
        caption: a text that came with it.
        size: (height, width) of the whole image in pixels.
        encoded: its tokens, B = 1.
    """
    tokens = encoded.tokens
    places = tokens.places()
    words = tokens.words[0] if tokens.words else ()
    return {
        "id": in_utf8(name),
        "width": size[1],
        "height": size[0],
        **_layout_columns(tokens.layout, places),
        "ids": None if tokens.ids is None else tokens.ids[0][places].tolist(),
        "global_ids": tokens.global_ids[0].tolist() if isinstance(tokens, GridTokens) else None,
        "words": [word.word for word in words] if tokens.words else None,
        "scores": [round(word.score, SCORE_DIGITS) for word in words] if tokens.words else None,
        "embeddings": None if tokens.embeddings is None else tokens.embeddings[0][places].flatten().tolist(),
        "caption": None if caption is None else in_utf8(caption),
        "vector": None if encoded.vector is None else rounded(encoded.vector),
        "soft_tokens": None if tokens.embeddings is None else len(places),
    }


def in_utf8(text: str) -> str:
    r"""A text that can be written: a byte of a file's name that is no UTF-8 becomes an escape, "\udcff"."""
    return text.encode(errors="backslashreplace").decode()


def rounded(values: torch.Tensor) -> list[float]:
    """A tensor's values in order, with `SCORE_DIGITS` decimals."""
    return [round(value, SCORE_DIGITS) for value in values.flatten().tolist()]


def _layout_columns(layout: Layout | None, places: list[int]) -> dict[str, Any]:
    columns: dict[str, Any] = dict.fromkeys(("rows", "columns", "boxes", "cells"))
    if isinstance(layout, CellGrid):
        columns |= {"rows": layout.rows, "columns": layout.columns}
    elif isinstance(layout, ClusterMap):
        rows, width = layout.tokens.shape[1:]
        columns |= {"rows": rows, "columns": width, "cells": layout.tokens[0].flatten().tolist()}
    elif isinstance(layout, Boxes):
        columns["boxes"] = rounded(layout.corners[0][places])
    return columns


def from_row(row: Mapping[str, Any], kind: str) -> VisualTokens:
    """The tokens of one row, B = 1, as `to_row` got them; scores and boxes are rounded.

    Args:
        row: column ──► value; missing columns count as empty.
        kind: of the tokenizer's tokens.
    """
    ids = None if row.get("ids") is None else torch.tensor([row["ids"]], dtype=torch.int64)
    words = _words(row)
    if row.get("global_ids") is not None and ids is not None:
        local = ids.view(1, row["rows"], row["columns"])
        return GridTokens(torch.tensor([row["global_ids"]], dtype=torch.int64), local, words)
    embeddings = None
    if row.get("embeddings") is not None:
        embeddings = torch.tensor(row["embeddings"]).view(1, _soft_tokens(row), -1)
    return VisualTokens(kind, ids, embeddings, layout=_layout(row), words=words)  # type: ignore[arg-type]


def _soft_tokens(row: Mapping[str, Any]) -> int:
    """N; files that do not have it hold one id, word, box or cell for each token."""
    listed = len(row.get("ids") or row.get("words") or ()) or len(row.get("boxes") or ()) // 4
    cells = (row.get("rows") or 1) * (row.get("columns") or 1)
    return int(row.get("soft_tokens") or listed or cells)


def _words(row: Mapping[str, Any]) -> tuple[tuple[Word, ...], ...]:
    if row.get("words") is None:
        return ()
    return (tuple(Word(word, (), score) for word, score in zip(row["words"], row["scores"], strict=True)),)


def _layout(row: Mapping[str, Any]) -> Layout | None:
    if row.get("boxes") is not None:
        return Boxes(torch.tensor(row["boxes"]).view(1, -1, 4))
    if row.get("cells") is not None:
        return ClusterMap(torch.tensor(row["cells"], dtype=torch.int64).view(1, row["rows"], row["columns"]))
    if row.get("rows") is not None:
        return CellGrid(row["rows"], row["columns"])
    return None

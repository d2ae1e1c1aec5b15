"""what the editor of the page sends ──► the files of its layers, few and small, not opened by gradio.

Gradio's own editor keeps every drawing that was sent and never painted, makes room for as many layers as a
request asks for, and opens pictures of any size.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import gradio as gr

from v2l.server.page.pictures import Drawing

MOST_DRAWINGS, MOST_LAYERS = 8, 4
LARGEST_LAYER = 4 * 2**20  # bytes
LONGEST_NAME = 64  # characters


class Drawings:
    """The drawings that were sent and are not painted yet, by their names; the oldest make room."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, dict[int, bytes]] = OrderedDict()

    def accept(self, data: Any) -> None:
        """Keep a layer. Background and composite are not needed: the photograph is known.

        Args:
            data: of gradio: `data` has "id", "type" and "index", `files` one name and its bytes.

        Raises:
            ValueError: it has too many layers, or is too large.
        """
        if data.data["type"] != "layer":
            return
        name, number, content = str(data.data["id"]), int(data.data["index"]), data.files[0][1]
        if len(name) > LONGEST_NAME or not 0 <= number < MOST_LAYERS or len(content) > LARGEST_LAYER:
            raise ValueError("the drawing is too large")
        self._waiting.setdefault(name, {})[number] = content
        while len(self._waiting) > MOST_DRAWINGS:
            self._waiting.popitem(last=False)

    def take(self, payload: Any) -> Drawing:
        """The files of the layers of a drawing.

        Args:
            payload: of gradio: `id` of a drawing that was accepted, or `layers` with the paths of files.
        """
        if payload is None:
            return []
        if payload.id is not None:
            return list(self._waiting.pop(payload.id, {}).values())
        return [Path(layer.path).read_bytes() for layer in payload.layers[:MOST_LAYERS] if layer is not None]


def keep_drawings(editor: gr.ImageEditor, drawings: Drawings) -> None:
    """Let an editor send its drawings there."""

    def accept_blobs(data: Any) -> None:
        drawings.accept(data)

    setattr(accept_blobs, "_is_server_fn", True)  # noqa: B010  # what gradio's decorator does
    setattr(editor, "accept_blobs", accept_blobs)  # noqa: B010  # mypy forbids the assignment
    setattr(editor, "preprocess", drawings.take)  # noqa: B010

"""what the tabs share: the pipeline, the photograph, and who pressed Stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from v2l.llm.endpoint import Endpoint
from v2l.pipeline.pipeline import Pipeline
from v2l.server.page.work import Stops


@dataclass(frozen=True)
class Desk:
    """What every tab gets.

    Attributes:
        pipeline: tokenizer and LLM.
        photograph: the component with the photograph that all tabs look at; its value is a file.
        stops: which sessions pressed Stop.
        tab: the tab that is built.
        endpoint: a server whose LLM answers questions instead of the pipeline's, or None.
    """

    pipeline: Pipeline
    photograph: gr.Image
    stops: Stops
    tab: gr.Tab
    endpoint: Endpoint | None = None

    def clear(self, *outputs: Any) -> None:
        """Empty these components when another photograph comes: what they show belongs to the last one."""
        hidden = [gr.update(value=None, visible=not isinstance(output, gr.ImageSlider)) for output in outputs]
        self.photograph.change(
            lambda: hidden if len(hidden) > 1 else hidden[0], None, list(outputs), api_visibility="private"
        )

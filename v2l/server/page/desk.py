"""what the tabs share: the pipeline, the photograph, and who pressed Stop."""

from __future__ import annotations

from dataclasses import dataclass

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

    def clear(self, output: gr.HTML) -> None:
        """Empty a component when another photograph comes: what it shows belongs to the last one.

        The browser empties it. A function of the server could come behind the next result, and remove it.
        """
        self.photograph.change(None, None, output, js="() => ''", api_visibility="private")

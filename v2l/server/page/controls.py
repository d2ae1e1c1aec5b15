"""labels ──► the controls that several tabs have: buttons of one size."""

from __future__ import annotations

from typing import Literal

import gradio as gr


def action(label: str, elem_id: str, variant: Literal["primary", "secondary"] = "secondary") -> gr.Button:
    """A button as wide as its label."""
    return gr.Button(label, variant=variant, elem_id=elem_id, scale=0, min_width=120, size="md")


def stop_button() -> gr.Button:
    """A button that stops work."""
    return gr.Button("Stop", variant="stop", scale=0, min_width=90, size="md")

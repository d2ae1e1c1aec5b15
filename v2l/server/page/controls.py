"""labels ──► the controls that several tabs have: buttons of one size, and two pictures with a slider."""

from __future__ import annotations

from typing import Any, Literal

import gradio as gr
from torch import Tensor

from v2l.server.page.pictures import to_array


def action(label: str, elem_id: str, variant: Literal["primary", "secondary"] = "secondary") -> gr.Button:
    """A button as wide as its label."""
    return gr.Button(label, variant=variant, elem_id=elem_id, scale=0, min_width=120, size="md")


def stop_button() -> gr.Button:
    """A button that stops work."""
    return gr.Button("Stop", variant="stop", scale=0, min_width=90, size="md")


def before_after(label: str, elem_id: str) -> gr.ImageSlider:
    """Two pictures, one over the other, with a slider between them; hidden until there are pictures."""
    return gr.ImageSlider(
        label=label,
        elem_id=elem_id,
        interactive=False,
        format="png",  # no loss: what is compared are pixels
        max_height=560,
        visible=False,
    )


def shown_pair(before: Tensor, after: Tensor) -> Any:
    """Two images (3, H, W) in [0, 1] for `before_after`, which is shown with them."""
    return gr.update(value=(to_array(before), to_array(after)), visible=True)

"""a photograph and a brushed hole ──► the photograph with the hole painted by the frozen LLM."""

from __future__ import annotations

from typing import Any

import gradio as gr
from torch import Tensor

from v2l.masks import centre_mask
from v2l.progress import Progress
from v2l.server.page.controls import action, stop_button
from v2l.server.page.desk import Desk
from v2l.server.page.drawings import Drawings, keep_drawings
from v2l.server.page.html import before_after, paragraph, result
from v2l.server.page.pictures import Drawing, brushed_mask, read_photograph
from v2l.server.page.work import Event, run_on
from v2l.tasks.restoration.inpaint import Inpainted, inpaint

BRUSH = "#e11d48"
HOLES = [("where I brush", "brushed"), ("the centre", "centre")]
LEAD = "Brush over a part of the photograph. The LLM paints it anew from what is left to see."


def inpaint_tab(desk: Desk) -> None:
    """Build the tab; the editor shows the photograph whenever that changes."""
    gr.HTML(paragraph(LEAD, "lead"))
    hole = gr.Radio(HOLES, value="brushed", label="The hole")
    editor = gr.ImageEditor(
        label="Brush here",
        elem_id="editor",
        sources=(),
        transforms=(),
        layers=False,
        buttons=[],
        brush=gr.Brush(default_size=24, colors=[BRUSH], color_mode="fixed"),
        height=440,
    )
    keep_drawings(editor, Drawings())
    with gr.Row():
        button, stop = action("Paint", "paint", "primary"), stop_button()
    painted = gr.HTML(elem_id="painted")

    def work(report: Progress, file: str | None, drawing: Drawing, hole: str) -> str:
        image = read_photograph(file)
        mask = chosen_mask((image.shape[-2], image.shape[-1]), drawing, hole)
        report("loading the language model", 0, 1)
        _ = desk.pipeline.llm
        return painting_html(image, inpaint(desk.pipeline, image, mask, progress=report))

    run_on(desk.stops, [button.click], work, Event([desk.photograph, editor, hole], [painted], stop))
    hole.change(lambda chosen: gr.update(visible=chosen == "brushed"), hole, editor, api_visibility="private")
    # A tab that was never open drops what its editor got: it gets the photograph when it opens, too.
    gr.on(
        [desk.photograph.change, desk.tab.select],
        editor_value,
        desk.photograph,
        editor,
        api_visibility="private",
    )
    desk.clear(painted)


def chosen_mask(size: tuple[int, int], drawing: Drawing, hole: str) -> Tensor:
    """The hole, (H, W) bool: what was brushed, or the centre.

    Raises:
        V2LError: nothing was brushed, or the photograph is too small to have a centre.
    """
    return centre_mask(size) if hole == "centre" else brushed_mask(drawing, size)


def editor_value(file: str | None) -> dict[str, Any] | None:
    """The photograph as the editor's background, with nothing brushed."""
    return None if file is None else {"background": file, "layers": [], "composite": None}


def painting_html(image: Tensor, found: Inpainted) -> str:
    """The photograph (3, H, W) and the painted one, and how much of it the LLM predicted."""
    predicted, all_cells = int(found.hidden.sum()), found.hidden.numel()
    return result(
        paragraph("Left the photograph, right the painted one.", "hint"),
        before_after(image, found.image, "painted photograph"),
        paragraph(f"The LLM predicted {predicted} of {all_cells} tokens.", "hint"),
    )

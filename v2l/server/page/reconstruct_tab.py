"""a photograph ──► its tokens ──► a photograph again, beside the first with a slider between them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from v2l.metrics import psnr
from v2l.pipeline.reconstruction import Reconstructed, reconstruct_image
from v2l.progress import Progress
from v2l.server.page.controls import action, before_after, shown_pair
from v2l.server.page.desk import Desk
from v2l.server.page.html import paragraph, result
from v2l.server.page.pictures import read_photograph
from v2l.server.page.work import Event, run_on


def reconstruct_tab(desk: Desk) -> None:
    """Build the tab."""
    gr.HTML(paragraph("The photograph becomes tokens, and the tokens become a photograph again.", "lead"))
    with gr.Row():
        button = action("Reconstruct", "reconstruct", "primary")
    slider = before_after("Left the photograph, right what its tokens keep", "reconstructed")
    facts = gr.HTML(elem_id="reconstruction-facts")

    def work(report: Progress, file: str | None) -> tuple[Any, str]:
        found = reconstruct_image(desk.pipeline.tokenizer, read_photograph(file))
        return shown_pair(found.original, found.image), facts_html(found)

    run_on(desk.stops, [button.click], work, Event([desk.photograph], [slider, facts]))
    desk.clear(slider, facts)


def facts_html(found: Reconstructed) -> str:
    """How many tokens, and how near the two pictures are."""
    decibel = psnr(found.original[None], found.image[None]).item()
    height, width = found.decoded_size
    size = f" The decoder gave {width} × {height} pixels." if found.was_shrunk else ""
    return result(paragraph(f"{len(found.tokens.places())} tokens, PSNR {decibel:.1f} dB.{size}", "hint"))

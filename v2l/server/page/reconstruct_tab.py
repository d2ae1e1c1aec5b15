"""a photograph ──► its tokens ──► a photograph again, beside the first with a slider between them."""

from __future__ import annotations

import gradio as gr

from v2l.metrics import psnr
from v2l.pipeline.reconstruction import Reconstructed, reconstruct_image
from v2l.progress import Progress
from v2l.server.page.controls import action
from v2l.server.page.desk import Desk
from v2l.server.page.html import before_after, paragraph, result
from v2l.server.page.pictures import read_photograph
from v2l.server.page.work import Event, run_on


def reconstruct_tab(desk: Desk) -> None:
    """Build the tab."""
    gr.HTML(paragraph("The photograph becomes tokens, and the tokens become a photograph again.", "lead"))
    with gr.Row():
        button = action("Reconstruct", "reconstruct", "primary")
    reconstructed = gr.HTML(elem_id="reconstructed")

    def work(report: Progress, file: str | None) -> str:
        return reconstruction_html(reconstruct_image(desk.pipeline.tokenizer, read_photograph(file)))

    run_on(desk.stops, [button.click], work, Event([desk.photograph], [reconstructed]))
    desk.clear(reconstructed)


def reconstruction_html(found: Reconstructed) -> str:
    """The two pictures, how many tokens lie between them, and how near they are."""
    decibel = psnr(found.original[None], found.image[None]).item()
    shrunk = " The tokenizer read it smaller." if found.scale == "model" else ""
    facts = f"{len(found.tokens.places())} tokens, PSNR {decibel:.1f} dB.{shrunk}"
    return result(
        paragraph("Left the photograph, right what its tokens keep.", "hint"),
        before_after(found.original, found.image, "reconstruction"),
        paragraph(facts, "hint"),
    )

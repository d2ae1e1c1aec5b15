"""a photograph ──► what each tokenizer of the family makes of it, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from html import escape

import gradio as gr
import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.metrics import psnr
from v2l.pipeline.reconstruction import reconstruct_image
from v2l.progress import Progress
from v2l.server.page.controls import action, stop_button
from v2l.server.page.desk import Desk
from v2l.server.page.html import figure, paragraph, result
from v2l.server.page.pictures import read_photograph
from v2l.server.page.words_tab import no_regions, word_bars
from v2l.server.page.work import Event, run_on, sentence
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.registry import member_named, tokenizer_names

WORDS = 5
Loader = Callable[[str], ImageTokenizer]


def compare_tab(desk: Desk) -> None:
    """Build the tab: which tokenizers, and a card for each."""
    own = desk.pipeline.tokenizer
    load = loader(own)
    gr.HTML(paragraph("One photograph, read by each tokenizer that you choose.", "lead"))
    chosen = gr.CheckboxGroup(tokenizer_names(), value=[own.NAME], label="Tokenizers", elem_id="tokenizers")
    with gr.Row():
        button, stop = action("Compare", "compare", "primary"), stop_button()
    cards = gr.HTML(elem_id="cards")

    def work(report: Progress, file: str | None, names: Sequence[str]) -> str:
        if not names:
            raise V2LError("no tokenizer is chosen: choose one or more")
        image, made = read_photograph(file), []
        for done, name in enumerate(names):
            report(name, done, len(names))
            made.append(card(name, image, load))
        return result(f'<div class="cards">{"".join(made)}</div>')

    run_on(desk.stops, [button.click], work, Event([desk.photograph, chosen], [cards], stop))
    desk.clear(cards)


def loader(own: ImageTokenizer) -> Loader:
    """A function that loads each tokenizer once, on the device of the server's own."""

    @cache
    def load(name: str) -> ImageTokenizer:
        return own if name == own.NAME else load_tokenizer(name, str(own.device))

    return load


@torch.inference_mode()
def card(name: str, image: Tensor, load: Loader) -> str:
    """One tokenizer's tokens, words and pictures of a photograph (3, H, W), or why it has none of them."""
    try:
        body = card_body(load(name), image)
    except V2LError as error:  # the other cards are still worth reading
        body = paragraph(sentence(error), "note")
    return f"<section><h3>{escape(name)}</h3>{body}</section>"


def card_body(tokenizer: ImageTokenizer, image: Tensor) -> str:
    """What a tokenizer can show, in the order words, regions, reconstruction."""
    tokens = tokenizer.encode(image[None])
    gives = member_named(tokenizer.NAME).gives
    parts = [paragraph(f"{len(tokens.places())} tokens: {tokens.kind}.")]
    if "words" in gives:
        parts.append(word_bars(tokenizer.image_words(image[None], WORDS).words[0]))
    if tokens.words and not no_regions(tokens):
        parts.append(
            figure(tokenizer.explain(image, tokens).picture, f"Regions of {tokenizer.NAME}", "Regions")
        )
    if "decoder" in gives:
        found = reconstruct_image(tokenizer, image)
        decibel = psnr(found.original[None], found.image[None]).item()
        caption = f"Reconstruction, PSNR {decibel:.1f} dB"
        parts.append(figure(found.image, f"Reconstruction by {tokenizer.NAME}", caption))
    return "".join(parts)

"""a photograph ──► its words with their cosines, and its regions with outlines and words."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr
from torch import Tensor

from v2l.progress import Progress
from v2l.server.page.controls import action
from v2l.server.page.desk import Desk
from v2l.server.page.html import Bar, bars, figure, paragraph, result
from v2l.server.page.pictures import read_photograph
from v2l.server.page.work import Event, run_on
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokens import CellGrid, VisualTokens, Word

MOST_OUTLINES = 300  # tokens; more of them cover the photograph with letters
EMPTY = result(paragraph("Choose a photograph, and its words stand here.", "hint"))
SELECTIONS = [("the nearest", "nearest"), ("those that add up", "together")]


def words_tab(desk: Desk) -> None:
    """Build the tab; its words are found again whenever the photograph or a control changes."""
    with gr.Row():
        count = gr.Slider(1, 30, value=8, step=1, label="Number of words", scale=2, min_width=200)
        selection = gr.Radio(SELECTIONS, value="nearest", label="Which words", scale=3, min_width=280)
    found = gr.HTML(EMPTY, elem_id="words")
    with gr.Row():
        show = action("Show its regions", "show-regions")
    regions = gr.HTML(elem_id="regions")

    def find(report: Progress, file: str | None, count: float, selection: str) -> str:
        if file is None:
            return EMPTY
        return words_html(desk.pipeline.tokenizer, read_photograph(file), int(count), selection)

    def outline(report: Progress, file: str | None) -> str:
        return regions_html(desk.pipeline.tokenizer, read_photograph(file))

    changes = [desk.photograph.change, count.release, selection.change]
    run_on(desk.stops, changes, find, Event([desk.photograph, count, selection], [found]))
    run_on(desk.stops, [show.click], outline, Event([desk.photograph], [regions]))
    desk.clear(regions)


def words_html(tokenizer: ImageTokenizer, image: Tensor, count: int, selection: str) -> str:
    """The words of a photograph (3, H, W) as bars.

    Raises:
        V2LError: the tokenizer gives no words, or its codebook has fewer.
    """
    words = tokenizer.image_words(image[None], count, selection).words[0]
    note = tokenizer.visibility_note(image)
    meaning = "The bar is the cosine between the photograph and the word, from 0 to 1."
    return result(
        paragraph(f"Note: {note}.", "note") if note else "",
        word_bars(words),
        paragraph(meaning if tokenizer.tagger is not None else "The bar is the word's score.", "hint"),
    )


def word_bars(words: Sequence[Word]) -> str:
    """One bar for each word."""
    return bars([Bar(word.word, word.score, f"{word.score:.2f}") for word in words])


def regions_html(tokenizer: ImageTokenizer, image: Tensor) -> str:
    """The photograph (3, H, W) with the border and the word of each token."""
    tokens = tokenizer.encode(image[None])
    number, refused = len(tokens.places()), no_regions(tokens)
    if refused:
        return result(paragraph(refused, "hint"))
    explained = tokenizer.explain(image, tokens)
    words = list(dict.fromkeys(word for word in explained.words if word))
    if not words:
        return result(
            paragraph(f"The tokenizer {tokenizer.NAME} gives its {number} tokens no words.", "hint")
        )
    alt = f"The photograph with {number} outlined regions: {', '.join(words[:20])}"
    return result(figure(explained.picture, alt, caption(tokens)))


def no_regions(tokens: VisualTokens) -> str:
    """Why there is nothing to outline; empty when there is."""
    number = len(tokens.places())
    if tokens.layout is None:
        return f"Its {number} tokens each describe the whole photograph, so there are no regions."
    if number > MOST_OUTLINES:
        return f"It has {number} regions, too many to outline; at most {MOST_OUTLINES} are shown."
    return ""


def caption(tokens: VisualTokens) -> str:
    """What the outlines are."""
    if isinstance(tokens.layout, CellGrid):
        cells = f"{tokens.layout.rows} × {tokens.layout.columns} cells"
        return f"{cells}, each one word of the LLM. Together they are the picture; alone they name nothing."
    return f"{len(tokens.places())} regions, each with its word."

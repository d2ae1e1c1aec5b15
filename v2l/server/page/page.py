"""a pipeline ──► the whole page: a photograph, and one tab for each thing that v2l does with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import NamedTuple

# Read when gradio is imported: the page sends nothing anywhere.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
from fastapi import FastAPI
from gradio.data_classes import ImageData
from starlette.routing import Mount

from v2l.errors import V2LError
from v2l.llm.endpoint import Endpoint
from v2l.pipeline.pipeline import Pipeline
from v2l.server.page.ask_tab import ask_tab
from v2l.server.page.compare_tab import compare_tab
from v2l.server.page.desk import Desk
from v2l.server.page.faults import log_in_one_line
from v2l.server.page.fewshot_tab import fewshot_tab
from v2l.server.page.files import private_folder
from v2l.server.page.gate import Gate
from v2l.server.page.html import paragraph
from v2l.server.page.inpaint_tab import inpaint_tab
from v2l.server.page.reconstruct_tab import reconstruct_tab
from v2l.server.page.samples import SAMPLES, sample_photographs
from v2l.server.page.words_tab import words_tab
from v2l.server.page.work import Stops, sentence
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.needs import require

STYLE = Path(__file__).with_name("page.css")
MOST_WAITING = 32  # pieces of work in the queue; the page says that it is full
LARGEST_FILE = "32mb"
TITLE = "v2l: photographs in words"
HEAD = """
<h1>v2l</h1>
<p class="lead">A frozen language model reads a photograph as words.</p>
"""


class Tab(NamedTuple):
    """One tab.

    Attributes:
        title: its name.
        need: what it needs of the tokenizer, a key of `registry.NEEDS`; empty for nothing.
        build: adds its components.
    """

    title: str
    need: str
    build: Callable[[Desk], None]


TABS = (
    Tab("Words", "words", words_tab),
    Tab("Ask", "words", ask_tab),
    Tab("Few-shot", "words", fewshot_tab),
    Tab("Reconstruct", "decoder", reconstruct_tab),
    Tab("Inpaint", "grid codes", inpaint_tab),
    Tab("Compare", "", compare_tab),
)


def build_page(pipeline: Pipeline, endpoint: Endpoint | None = None) -> gr.Blocks:
    """The page of a pipeline; the LLM is loaded at the first work that needs it.

    Args:
        pipeline: tokenizer and LLM.
        endpoint: a server whose LLM answers questions instead of the pipeline's, or None.
    """
    private_folder()  # before the first component: it keeps the folder of its files
    with gr.Blocks(analytics_enabled=False, title=TITLE, fill_width=True) as page:
        gr.HTML(HEAD + paragraph(stack_line(pipeline, endpoint), "hint"), elem_id="head")
        with gr.Row(elem_id="main"):
            with gr.Column(scale=2, min_width=300, elem_id="left"):
                photograph, stops = photograph_input(), Stops()
            with gr.Column(scale=3, min_width=300), gr.Tabs(overflow_behavior="wrap"):
                for tab in TABS:
                    with gr.Tab(tab.title) as place:
                        fill(tab, Desk(pipeline, photograph, stops, place, endpoint))
        page.unload(stops.ask)  # nobody reads the result of a closed page
    queued: gr.Blocks = page.queue(max_size=MOST_WAITING, api_open=False)  # nothing runs beside the queue
    return queued


def mount_page(app: FastAPI, page: gr.Blocks, path: str = "/") -> FastAPI:
    """Add the page to a server, with its own look.

    Args:
        app: the server.
        page: what `build_page` gave.
        path: where.
    """
    page.has_launched = True  # else gradio takes any file of this machine for an uploaded one
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        page,
        path=path,
        theme=theme(),
        css_paths=[STYLE],
        footer_links=[],
        run_history=False,
        show_error=False,  # a bug says nothing of this machine
        max_file_size=LARGEST_FILE,
        allowed_paths=[str(SAMPLES)],
        ssr_mode=False,
    )
    log_in_one_line()
    place = mounted.router.routes[-1]
    assert isinstance(place, Mount)
    place.app = Gate(place.app, private_folder())
    return mounted


def theme() -> gr.themes.Base:
    """The system's fonts, so that none is fetched from elsewhere; one accent."""
    return gr.themes.Base(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
        radius_size="lg",
    ).set(  # the theme's own greys and accent are too faint to read: WCAG asks for a contrast of 4.5
        body_text_color_subdued="*neutral_600",
        block_label_text_color="*neutral_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
    )


def photograph_input() -> gr.Image:
    """The photograph that all tabs look at, and samples to choose from."""
    photograph = gr.Image(
        label="Photograph",
        elem_id="photograph",
        type="filepath",
        image_mode=None,  # the file as it came: v2l reads its orientation and its colours
        sources=["upload", "webcam", "clipboard"],
        buttons=[],
        height=380,
        alt_text="The photograph that you chose",
    )
    # The file itself, not opened by Pillow: `load_image` says in a sentence what is wrong with it.
    setattr(photograph, "preprocess", uploaded_file)  # noqa: B010  # mypy forbids the assignment
    samples = {name: files[0] for name, files in sample_photographs().items() if files}
    with gr.Row(elem_id="samples"):
        for name, file in samples.items():
            sample = gr.Button(name, icon=file, size="sm", min_width=72)
            sample.click(lambda chosen=str(file): chosen, None, photograph, api_visibility="private")
    return photograph


def uploaded_file(payload: ImageData | None) -> str | None:
    """What the browser sent ──► its file on the server."""
    return None if payload is None else payload.path


def fill(tab: Tab, desk: Desk) -> None:
    """The components of a tab, or the sentence why this tokenizer cannot serve it."""
    refused = refusal_of(tab, desk.pipeline.tokenizer)
    if refused:
        gr.HTML(paragraph(refused, "note"))
    else:
        tab.build(desk)


def refusal_of(tab: Tab, tokenizer: ImageTokenizer) -> str:
    """Why a tokenizer cannot serve a tab; empty when it can."""
    try:
        if tab.need:
            require(tokenizer, tab.need, tab.title)
    except V2LError as error:
        return sentence(error)
    return ""


def stack_line(pipeline: Pipeline, endpoint: Endpoint | None) -> str:
    """Which tokenizer and which LLM; the LLM is not loaded for it."""
    name = endpoint.name if endpoint is not None else pipeline.describe()["llm"] or "none"
    llm = PurePath(name).name if PurePath(name).is_absolute() else name  # no folder of this machine
    return f"Tokenizer {pipeline.tokenizer.NAME} · LLM {llm}"

"""a photograph and a question ──► the frozen LLM's answer, from the words of the photograph."""

from __future__ import annotations

import gradio as gr

from v2l.progress import Progress
from v2l.prompts.vqa import check_question
from v2l.server.page.controls import action, stop_button
from v2l.server.page.desk import Desk
from v2l.server.page.html import paragraph, result
from v2l.server.page.pictures import read_photograph
from v2l.server.page.work import Event, run_on
from v2l.tasks.description.describe import Describer, DescribeSettings, Description

LEAD = "The LLM never sees a pixel. It reads the words of the photograph, and answers."


def ask_tab(desk: Desk) -> None:
    """Build the tab: a question and its answer, or a sentence about the photograph."""
    gr.HTML(paragraph(LEAD, "lead"))
    question = gr.Textbox(label="Question", placeholder="What is it?", elem_id="question", max_lines=1)
    with gr.Row():
        ask, describe = action("Ask", "ask", "primary"), action("Describe it", "describe")
        stop = stop_button()
    answer = gr.HTML(elem_id="answer")

    def work(report: Progress, file: str | None, question: str) -> str:
        return answer_html(described(desk, report, file, "vqa", check_question(question)))

    def sentence(report: Progress, file: str | None) -> str:
        return answer_html(described(desk, report, file, "caption"))

    asked = Event([desk.photograph, question], [answer], stop)
    run_on(desk.stops, [ask.click, question.submit], work, asked)
    run_on(desk.stops, [describe.click], sentence, Event([desk.photograph], [answer], stop))
    desk.clear(answer)


def described(desk: Desk, report: Progress, file: str | None, task: str, question: str = "") -> Description:
    """The answer to a question about the photograph (task vqa), or a sentence about it (task caption).

    Raises:
        V2LError: there is no readable photograph, or no LLM answers.
    """
    describer = Describer(desk.pipeline, task, DescribeSettings(), desk.endpoint)
    image = read_photograph(file)
    report("reading the photograph", 0, 3)
    words = describer.words_of([image])
    report("loading the language model", 1, 3)
    _ = describer.llm
    report("writing", 2, 3)
    return describer.describe(words, [question])[0]


def answer_html(found: Description) -> str:
    """The answer, and the words that it was written from."""
    return result(
        paragraph(found.text or "The LLM wrote nothing.", "answer"),
        paragraph(f"It read these words: {', '.join(found.words)}.", "hint"),
        paragraph(f"Note: {found.note}.", "note") if found.note else "",
    )

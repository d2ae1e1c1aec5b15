"""piles of photographs with names ──► the odds of each name for the photograph, by the frozen LLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import exp
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from torch import Tensor

from v2l.datasets import Episode, LabelledImage
from v2l.errors import V2LError
from v2l.pipeline.image_words import words_of_images
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress
from v2l.server.page.controls import action, stop_button
from v2l.server.page.desk import Desk
from v2l.server.page.html import Bar, bars, paragraph, result
from v2l.server.page.pictures import read_photograph
from v2l.server.page.samples import sample_photographs
from v2l.server.page.work import Event, run_on
from v2l.tasks.classification.fewshot import Method, classify_episode

MOST_PHOTOGRAPHS = 50  # in all piles
PILES, SHOWN = 5, 2  # that can be filled, and that are there at first
ASKED = Path("the photograph")  # stands for its file, which may be one of a pile's, too
SHOTS = 2  # sample photographs of a pile
LEAD = "Give each pile a name and a few photographs. The LLM says which pile the photograph belongs to."
MEANING = "Odds of the scores that decide. They put the piles in order; they are no measured probabilities."


class Pile(NamedTuple):
    """Files of photographs that share a name. They are read one by one: many whole ones fill the memory."""

    name: str
    files: Sequence[str]


def fewshot_tab(desk: Desk) -> None:
    """Build the tab: piles, a button that shows one more, and the odds."""
    gr.HTML(paragraph(LEAD, "lead"))
    names, galleries = pile_inputs()
    with gr.Row():
        classify, add = action("Which pile?", "classify", "primary"), action("Add a pile", "add-pile")
        samples = action("Fill with samples", "fill-piles")
        stop = stop_button()
    samples.visible = bool(sample_piles())
    odds = gr.HTML(elem_id="odds")

    def work(report: Progress, file: str | None, *values: Any) -> str:
        query = read_photograph(file)
        piles = read_piles(values[:PILES], values[PILES:])
        report("loading the language model", 0, 2)
        _ = desk.pipeline.llm
        report("reading the photographs", 1, 2)
        return odds_html(pile_odds(desk.pipeline, piles, query))

    inputs = [desk.photograph, *names, *galleries]
    run_on(desk.stops, [classify.click], work, Event(inputs, [odds], stop))
    shown = gr.State(SHOWN)
    add.click(one_more, shown, [shown, add, *names, *galleries], api_visibility="private")
    samples.click(filled, None, [*names[:SHOWN], *galleries[:SHOWN]], api_visibility="private")
    desk.clear(odds)


def pile_inputs() -> tuple[list[gr.Textbox], list[gr.Gallery]]:
    """A name and a gallery for each pile; those after the first two are hidden."""
    names, galleries = [], []
    with gr.Row():
        for number in range(1, PILES + 1):
            with gr.Column(min_width=200):
                visible = number <= SHOWN
                names.append(gr.Textbox(label=f"Name of pile {number}", visible=visible, max_lines=1))
                galleries.append(
                    gr.Gallery(
                        label=f"Photographs of pile {number}",
                        elem_id=f"pile-{number}",
                        elem_classes="pile",
                        interactive=True,
                        sources=["upload"],
                        columns=2,
                        height=190,
                        object_fit="cover",
                        buttons=[],
                        visible=visible,
                    )
                )
    return names, galleries


def one_more(shown: int) -> list[Any]:
    """Show one pile more: the new count, the button, every name and every gallery."""
    shown = min(shown + 1, PILES)
    piles = [gr.update(visible=number <= shown) for number in range(1, PILES + 1)]
    return [shown, gr.update(interactive=shown < PILES), *piles, *piles]


def sample_piles() -> dict[str, list[Path]]:
    """Name ──► sample photographs, for the piles that are there at first.

    The first photograph of a class is left out, because it is one of those to be classified.
    """
    piles = list(sample_photographs().items())[:SHOWN]
    return {name: files[1 : 1 + SHOTS] for name, files in piles}


def filled() -> list[Any]:
    """Names and galleries of the sample piles."""
    piles = sample_piles()
    return [*piles, *([str(file) for file in files] for files in piles.values())]


def read_piles(names: Sequence[str | None], galleries: Sequence[Any]) -> list[Pile]:
    """The piles that hold photographs.

    Args:
        names: one a pile; None or empty when the user wrote none.
        galleries: one a pile: (file, caption) for each photograph; None when it is empty.

    Raises:
        V2LError: fewer than two piles, one without a name, two with one name, or too many photographs.
    """
    piles = []
    for number, (name, gallery) in enumerate(zip(names, galleries, strict=True), start=1):
        title = " ".join((name or "").split())
        if gallery and not title:
            raise V2LError(f"pile {number} has photographs and no name: give it one")
        if gallery:
            piles.append(Pile(title, [file for file, _ in gallery]))
    if len(piles) < 2:
        raise V2LError("at least two piles need a photograph")
    if sum(len(pile.files) for pile in piles) > MOST_PHOTOGRAPHS:
        raise V2LError("the piles have too many photographs", f"{MOST_PHOTOGRAPHS} in all")
    if len({pile.name for pile in piles}) < len(piles):
        raise V2LError("two piles have the same name: give each its own")
    return piles


def pile_odds(pipeline: Pipeline, piles: Sequence[Pile], query: Tensor) -> dict[str, float]:
    """Name ──► its share of the odds, highest first; the shares sum to 1.

    A share is the softmax of the scores of the default few-shot method.

    Raises:
        V2LError: the tokenizer gives no words, a file is unreadable, or the prompt is longer than the LLM's
            context.
    """
    method = Method()
    words = partial(words_of_images, pipeline.tokenizer, choice=method.words)
    shots = [LabelledImage(Path(file), pile.name) for pile in piles for file in pile.files]
    images = {shot.path: words([read_photograph(str(shot.path))])[0] for shot in shots}
    images[ASKED] = words([query])[0]
    episode = Episode(tuple(shots), LabelledImage(ASKED, None))
    return shares(classify_episode(pipeline.llm, episode, images, method).scores)


def shares(scores: Mapping[str, float]) -> dict[str, float]:
    """Log-scores ──► shares that sum to 1, highest first."""
    best = max(scores.values())
    weights = {name: exp(score - best) for name, score in scores.items()}
    total = sum(weights.values())
    return {name: weights[name] / total for name in sorted(weights, key=lambda name: -weights[name])}


def odds_html(found: Mapping[str, float]) -> str:
    """The likeliest name with its odds against the next, and a bar for each."""
    first, second = list(found)[:2]
    ratio = found[first] / max(found[second], 1e-9)
    odds = f"{ratio:.1f} : 1" if ratio < 10 else f"{ratio:.0f} : 1" if ratio < 1000 else "over 1000 : 1"
    return result(
        paragraph(f"{first}, {odds} against {second}", "answer"),
        bars([Bar(name, share, f"{share:.1%}") for name, share in found.items()]),
        paragraph(MEANING, "hint"),
    )

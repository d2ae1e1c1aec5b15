"""options of few-shot verbs ──► how the LLM is asked: a protocol, and what differs from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from v2l.tasks.classification.fewshot import Method

Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="default, what measured best; paper, the paper's prompt and free generation; official, the official code's prompt, mask and "
        "scoring. The options below change single things of it.",
    ),
]
Rule = Annotated[
    str | None,
    typer.Option(
        "--rule",
        help="What decides. generate: what the LLM writes is exactly a label; constrained: it can write labels only; "
        "loglikelihood: log p(label | words); calibrated: the same less the LLM's own liking; channel: log p(words | label); "
        "alone: the same behind the label's own examples only; contrast: what these raise; rounds: log p(label | words) after one example "
        "of each label at a time; both: alone and rounds together; masked: constrained as in the official code.",
    ),
]
Words = Annotated[int | None, typer.Option("--words", help="Global words of an image, 1 to 21 and more.")]
Choice = Annotated[
    str | None,
    typer.Option(
        "--choice",
        help="Which words: nearest to the image; together, those that make up its vector together.",
    ),
]
Wording = Annotated[
    str | None, typer.Option("--prompt", help="Wording of the prompt: tuned, paper, official.")
]
Induction = Annotated[
    bool | None, typer.Option("--induction/--no-induction", help="Whether a first line names the labels.")
]
Repeats = Annotated[
    int | None, typer.Option("--repeats", help="How often the support is repeated in the prompt.")
]
Orders = Annotated[
    int | None,
    typer.Option("--orders", help="Orders of the support that log-probabilities are averaged over."),
]
PerToken = Annotated[
    bool | None,
    typer.Option("--per-token/--summed", help="Whether a label's log-probability is divided by its tokens."),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", help="Prompts that the LLM reads at once; bounds the memory.")
]


def method(protocol: str, **given: Any) -> Method:
    """A protocol's method with what was given in place of its own; None is not given.

    Args:
        protocol: its name.
        given: fields of `Method`, of its words (count, how) and of its format (wording, induction, repeats).

    Raises:
        V2LError: a value is not allowed.
    """
    from v2l.tasks.classification.fewshot import find_method

    begun = find_method(protocol)
    changes = {name: value for name, value in given.items() if value is not None}
    parts = {
        name: replace(part, **picked(part, changes))
        for name, part in (("words", begun.words), ("format", begun.format))
    }
    return replace(begun, **parts, **picked(begun, changes))


def picked(record: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Those changes that are fields of a record."""
    return {name: value for name, value in changes.items() if hasattr(record, name) and name != "words"}

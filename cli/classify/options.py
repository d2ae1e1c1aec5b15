"""options of few-shot commands ──► the method: a protocol, and the settings that differ from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from v2l.tasks.classification.fewshot import Method

Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="default, what measured best; paper, the paper's prompt and free generation; official, "
        "the official code's prompt, mask and scoring. The options below change single things of it.",
    ),
]
Rule = Annotated[
    str | None,
    typer.Option(
        "--rule",
        help="What decides. generate: what the LLM writes is exactly a label; constrained: it can write "
        "labels only; loglikelihood: log p(label | words); calibrated: the same minus its value after empty "
        "input; channel: log p(words | label); alone: the same behind the label's own examples only; "
        "contrast: what these raise; rounds: log p(label | words) after one example of each label at a time; "
        "both: alone and rounds together; masked: constrained as in the official code.",
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
    int | None, typer.Option("--batch-size", help="Prompts in one pass of the LLM; limits the memory.")
]


@dataclass(frozen=True)
class MethodOptions:
    """The options that fewshot-classify and evaluate fewshot share; each field is the option of its name."""

    protocol: Protocol = "default"
    rule: Rule = None
    choice: Choice = None
    prompt: Wording = None
    orders: Orders = None
    per_token: PerToken = None
    batch_size: BatchSize = None

    def method(self, **more: Any) -> Method:
        """The protocol's method with these options; `more` holds other fields, as in `change_method`.

        Raises:
            V2LError: a value is not allowed.
        """
        return change_method(
            self.protocol,
            rule=self.rule,
            how=self.choice,
            wording=self.prompt,
            orders=self.orders,
            per_token=self.per_token,
            batch_size=self.batch_size,
            **more,
        )


def change_method(protocol: str, **given: Any) -> Method:
    """The method of a protocol with single fields changed; None leaves a field as it is.

    Args:
        protocol: its name.
        given: fields of `Method`, of its words (count, how) and of its format (wording, induction, repeats).

    Raises:
        V2LError: a value is not allowed.
    """
    from v2l.tasks.classification.fewshot import find_method

    method = find_method(protocol)
    changes = {name: value for name, value in given.items() if value is not None}
    words = replace(method.words, **fields_of(method.words, changes))
    format = replace(method.format, **fields_of(method.format, changes))
    return replace(method, **{**fields_of(method, changes), "words": words, "format": format})


def fields_of(record: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """The changes that are fields of a record."""
    return {name: value for name, value in changes.items() if hasattr(record, name) and name != "words"}

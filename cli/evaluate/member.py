"""one trained tokenizer + photographs ──► the figures of its own evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from v2l.cli.options import Options
from v2l.cli.output import output
from v2l.cli.progress import progress


@dataclass(frozen=True)
class Measured:
    """A tokenizer and the photographs on which it is measured.

    Attributes:
        tokenizer: a name or a folder.
        places: of the photographs.
        limit: how many photographs are drawn at most; None takes all.
    """

    tokenizer: str | None
    places: Sequence[str]
    limit: int | None = None


def measure(
    evaluate: Callable[..., dict[str, Any]],
    page: Callable[[dict[str, Any]], str],
    measured: Measured,
    given: Options,
    as_json: bool,
) -> None:
    """Measure a tokenizer on photographs that the seed draws, and print the figures.

    Args:
        evaluate: (tokenizer, files, seed, progress) ──► figures.
        page: figures ──► text for people.
        measured: the tokenizer and the photographs.
        given: the global options.
        as_json: whether to print JSON alone.
    """
    from random import Random

    from v2l.sources import find_images
    from v2l.tokenizers.loading import load_tokenizer

    with output(as_json) as out:
        found = find_images(*measured.places)
        count = min(measured.limit or len(found), len(found))
        files = [found[place] for place in sorted(Random(given.seed).sample(range(len(found)), count))]
        chosen = load_tokenizer(measured.tokenizer, given.device)
        with progress() as report:
            result = evaluate(chosen, files, seed=given.seed, progress=report)
        stack = {**chosen.describe(), "settings": chosen.settings(), "facts": chosen.facts}
        out.result(result | {"seed": given.seed, "stack": stack}, page(result))

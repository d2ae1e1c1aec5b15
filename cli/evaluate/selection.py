"""v2l evaluate selection: photographs ──► how much of the frozen features the kept patches bring back."""

from __future__ import annotations

import typer

from v2l.cli.evaluate.options import LimitOfTwo, Places
from v2l.cli.options import Json, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.progress import progress


def evaluate_selection(
    ctx: typer.Context,
    places: Places,
    limit: LimitOfTwo = None,
    tokenizer: Tokenizer = "lavit",
    json: Json = False,
) -> None:
    """Measure which patches lavit keeps: the cosine of rebuilt features when 20, 33 and 50 % are kept.

    The baselines keep equally many patches: at equal steps, and at random.
    """
    from random import Random

    from v2l.evaluation.selection import evaluate_selection as run
    from v2l.evaluation.selection import page
    from v2l.sources import find_images
    from v2l.tokenizers.loading import load_tokenizer

    given = options(ctx)
    with output(json) as out:
        found = find_images(*places)
        drawn = Random(given.seed).sample(range(len(found)), min(limit or len(found), len(found)))
        files = [found[place] for place in sorted(drawn)]
        chosen = load_tokenizer(tokenizer, given.device)
        with progress() as report:
            result = run(chosen, files, seed=given.seed, progress=report)
        stack = {**chosen.describe(), "settings": chosen.settings(), "facts": chosen.facts}
        out.result(result | {"seed": given.seed, "stack": stack}, page(result))

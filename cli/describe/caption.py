"""v2l caption: photographs ──► a sentence each, which the frozen LLM generates from their words."""

from __future__ import annotations

import typer

from v2l.cli.describe.options import DescribeOptions, Photographs, print_descriptions
from v2l.cli.option_groups import expand_options
from v2l.cli.options import options
from v2l.cli.output import output


@expand_options
def caption(ctx: typer.Context, images: Photographs, chosen: DescribeOptions) -> None:
    """Describe photographs in a sentence each, which the frozen LLM writes from their words."""
    with output(chosen.json) as out:
        describer = chosen.load(options(ctx))("caption")
        print_descriptions(out, describer, images, "", lambda description: {"caption": description.text})

"""v2l caption: photographs ──► a sentence each, which the frozen LLM generates from their words."""

from __future__ import annotations

import typer

from v2l.cli.describe.options import DescribeOptions, Photographs, print_descriptions
from v2l.cli.option_groups import expand_options
from v2l.cli.options import options
from v2l.cli.output import output
from v2l.cli.regions import RegionOptions


@expand_options
def caption(ctx: typer.Context, images: Photographs, chosen: DescribeOptions, regions: RegionOptions) -> None:
    """Describe photographs in a sentence each, which the frozen LLM writes from their words."""
    with output(chosen.json) as out:
        describer = chosen.load(options(ctx))("caption")
        regions.apply(describer.pipeline)
        print_descriptions(out, describer, images, "", lambda description: {"caption": description.text})

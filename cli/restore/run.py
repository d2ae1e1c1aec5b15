"""RestorationOptions + a mask or a corruption ──► the restored photograph, written and reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress
from v2l.cli.restore.options import RestorationOptions, example_images, sample_images
from v2l.cli.restore.restoration_output import Restored, write

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.corruptions import Blur, Rotation, Shift
    from v2l.tasks.restoration.inpaint import Inpainted
    from v2l.tasks.restoration.repair import Repaired
    from v2l.tasks.restoration.tiles import Tiled

    Corruption = Blur | Shift | Rotation


def fill(given: RestorationOptions, masked: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
    """Fill the masked part of a photograph.

    Args:
        given: the options.
        masked: photograph (3, H, W) ──► the image to fill, and its mask.

    Raises:
        V2LError: an option cannot be followed; as `inpaint`.
    """
    import torch

    from v2l.images import load_image
    from v2l.tasks.restoration.inpaint import MID_GREY, inpaint
    from v2l.tasks.restoration.tiles import inpaint_tiles

    with output(given.json) as out:
        given.check()
        image, mask = masked(load_image(given.image))
        settings, examples = given.settings(), example_images(given.examples)
        pipeline = load_pipeline(given.root, given.tokenizer, given.llm, given.adapter)
        before = torch.where(mask, MID_GREY, image)
        details: dict[str, Any] = {"masked_pixels": int(mask.sum())}
        with progress() as show:
            if given.tiles:
                restored = of_tiles(before, inpaint_tiles(pipeline, image, mask, settings, show, examples))
            else:
                done = inpaint(pipeline, image, mask, settings, show, examples)
                details |= {"masked_cells": int(done.hidden.sum())}
                details |= {"candidates": list(done.sample_loglikelihoods)}
                restored = of_whole(before, done)
        write(out, given, restored.described("masked", details), settings, pipeline)


def repair_photograph(
    given: RestorationOptions, corruption_of: Callable[[Tensor, list[Tensor], int], Corruption]
) -> None:
    """Restore a corrupted photograph.

    Args:
        given: the options.
        corruption_of: photograph (3, H, W), example images, side of the model's images ──► the corruption.

    Raises:
        V2LError: an option cannot be followed; as `repair`.
    """
    from v2l.images import load_image
    from v2l.tasks.restoration.repair import repair
    from v2l.tasks.restoration.tiles import repair_tiles

    with output(given.json) as out:
        given.check()
        image, examples = load_image(given.image), example_images(given.examples) or sample_images()
        settings = given.settings()
        pipeline = load_pipeline(given.root, given.tokenizer, given.llm, given.adapter)
        corruption = corruption_of(image, examples, pipeline.grid.config.model.image_size)
        details: dict[str, Any] = {"corruption": f"{type(corruption).__name__.lower()} {asdict(corruption)}"}
        with progress() as show:
            if given.tiles:
                tiled = repair_tiles(pipeline, image, corruption, examples, settings, show)
                restored = of_tiles(image, tiled)
            else:
                restored = of_whole(image, repair(pipeline, image, corruption, examples, settings, show))
        write(out, given, restored.described("corrupted", details), settings, pipeline)


def of_tiles(before: Tensor, tiled: Tiled) -> Restored:
    """What a command has made, from the tiles of an image."""
    details = {"tiles": len(tiled.log)}
    return Restored(before, tiled.image, tiled.grids, tiled.predictions, details=details)


def of_whole(before: Tensor, done: Inpainted | Repaired) -> Restored:
    """What a command has made, from an image that was restored at once."""
    return Restored(before, done.image, [done.tokens.local_ids[0]], done.log)

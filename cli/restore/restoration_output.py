"""a restored image ──► its file, a page of before and after, its tokens as JSON, and the verb's record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from v2l.cli.output import Output

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.corruptions import Corruption
    from v2l.pipeline.pipeline import Pipeline
    from v2l.tasks.restoration.token_prediction import RestorationSettings, WindowPrediction


@dataclass(frozen=True)
class Files:
    """Where a verb reads and writes.

    Attributes:
        image: the photograph.
        target: the restored picture.
        page: before and after; None writes none.
        tokens: the tokens as JSON; None writes none.
    """

    image: Path
    target: Path
    page: Path | None
    tokens: Path | None

    def check(self) -> None:
        """Refuse suffixes that name no image format, before long work.

        Raises:
            V2LError: naming those that do.
        """
        from v2l.images import check_suffix

        for path in (self.target, self.page):
            if path is not None:
                check_suffix(path)


@dataclass(frozen=True)
class Asked:
    """What a verb was asked for.

    Attributes:
        settings: how the LLM is asked.
        examples: photographs that serve as examples.
        tiles: whether to work at the photograph's own scale.
    """

    settings: RestorationSettings
    examples: Sequence[Tensor]
    tiles: bool = False


@dataclass(frozen=True)
class Restored:
    """What a verb has made.

    Attributes:
        before: (3, H, W), the photograph as it was given, its hole grey.
        after: (3, H, W).
        grids: local tokens, (h, w) each; one for a whole image, one for each tile.
        log: the windows in the order told.
        facts: what else belongs to the record.
    """

    before: Tensor
    after: Tensor
    grids: Sequence[Tensor]
    log: Sequence[WindowPrediction]
    facts: Mapping[str, Any]


def write(
    out: Output, files: Files, restored: Restored, settings: RestorationSettings, pipeline: Pipeline
) -> None:
    """Write the files, and print the record."""
    from v2l.files import write_file
    from v2l.images import image_grid, save_image

    save_image(restored.after, files.target)
    if files.page is not None:
        save_image(
            image_grid([[restored.before, restored.after]], [["before", "after"]], cell=320), files.page
        )
    if files.tokens is not None:
        grids = {"image": str(files.image), "local_ids": [grid.tolist() for grid in restored.grids]}
        with write_file(files.tokens) as temporary:
            temporary.write_text(json.dumps(grids) + "\n", encoding="utf-8")
    told = sum(len(window.cells) for window in restored.log)
    record = {
        "image": str(files.image),
        "output": str(files.target),
        "protocol": "blind",
        **restored.facts,
        "told": told,
        "windows": [asdict(window) for window in restored.log],
        "settings": asdict(settings),
        "stack": pipeline.describe(),
    }
    cells = sum(grid.numel() for grid in restored.grids)
    text = f"{files.image}: {told} of {cells} local words told by {record['stack']['llm']}, blind; written to {files.target}"
    out.result(
        record,
        "\n".join(
            [text, *(f"{name}: {value}" for name, value in restored.facts.items() if isinstance(value, str))]
        ),
    )


def paint(
    pipeline: Pipeline, photograph: Tensor, mask: Tensor, asked: Asked, tell: Callable[..., None]
) -> Restored:
    """Paint what a mask hides, on the whole or tile by tile.

    Raises:
        V2LError: as `inpaint`.
    """
    import torch

    from v2l.tasks.restoration.inpaint import MID_GREY, inpaint
    from v2l.tasks.restoration.tiles import inpaint_tiles

    before = torch.where(mask, MID_GREY, photograph)
    facts = {"masked_pixels": int(mask.sum())}
    if asked.tiles:
        done = inpaint_tiles(
            pipeline, photograph, mask, asked.settings, steps(tell, "pixels"), asked.examples
        )
        return Restored(before, done.image, done.grids, done.told, facts | {"tiles": len(done.log)})
    painted = inpaint(pipeline, photograph, mask, asked.settings, steps(tell, "windows"), asked.examples)
    facts |= {"masked_cells": int(painted.hidden.sum()), "candidates": list(painted.candidates)}
    return Restored(before, painted.image, [painted.tokens.local_ids[0]], painted.log, facts)


def mend(
    pipeline: Pipeline, photograph: Tensor, corruption: Corruption, asked: Asked, tell: Callable[..., None]
) -> Restored:
    """Restore a damaged photograph, on the whole or tile by tile.

    Raises:
        V2LError: as `repair`.
    """
    from v2l.tasks.restoration.repair import repair
    from v2l.tasks.restoration.tiles import repair_tiles

    facts = {"corruption": f"{type(corruption).__name__.lower()} {asdict(corruption)}"}
    if asked.tiles:
        done = repair_tiles(
            pipeline, photograph, corruption, asked.examples, asked.settings, steps(tell, "tiles")
        )
        return Restored(photograph, done.image, done.grids, done.told, facts | {"tiles": len(done.log)})
    mended = repair(pipeline, photograph, corruption, asked.examples, asked.settings, steps(tell, "windows"))
    return Restored(photograph, mended.image, [mended.tokens.local_ids[0]], mended.log, facts)


def steps(tell: Callable[..., None], name: str) -> Callable[[int, int], None]:
    """One bar, as tasks report to it."""
    return lambda done, total: tell(name, done, total)

"""restored image ──► its file, a page of before and after, its tokens as JSON, and the command's record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from v2l.cli.output import Output
from v2l.cli.restore.options import RestorationOptions

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.pipeline.pipeline import Pipeline
    from v2l.tasks.restoration.settings import RestorationSettings
    from v2l.tasks.restoration.token_prediction import WindowPrediction


@dataclass(frozen=True)
class Restored:
    """What a command has made.

    Attributes:
        before: (3, H, W), the photograph as it was given, its hole grey.
        after: (3, H, W).
        grids: local tokens, (h, w) each; one for a whole image, one for each tile.
        log: the windows in the order of prediction.
        kind: of the predicted tokens: masked, or corrupted.
        details: further entries of the record.
    """

    before: Tensor
    after: Tensor
    grids: Sequence[Tensor]
    log: Sequence[WindowPrediction]
    kind: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def described(self, kind: str, details: Mapping[str, Any]) -> Restored:
        """The same with its kind, and with these details before its own."""
        return replace(self, kind=kind, details={**details, **self.details})


def write(
    out: Output,
    given: RestorationOptions,
    restored: Restored,
    settings: RestorationSettings,
    pipeline: Pipeline,
) -> None:
    """Write the files, and print the record."""
    from v2l.drawings import image_grid
    from v2l.files import write_file
    from v2l.images import save_image

    save_image(restored.after, given.target)
    if given.page is not None:
        page = image_grid([[restored.before, restored.after]], [["before", "after"]], cell=320)
        save_image(page, given.page)
    if given.tokens is not None:
        grids = {"image": str(given.image), "local_ids": [grid.tolist() for grid in restored.grids]}
        with write_file(given.tokens) as temporary:
            temporary.write_text(json.dumps(grids) + "\n", encoding="utf-8")
    predicted = sum(len(window.cells) for window in restored.log)
    record = {
        "image": str(given.image),
        "output": str(given.target),
        "protocol": "blind",
        **restored.details,
        "predicted_tokens": predicted,
        "told": predicted,  # the name of version 0.1, which programs may read
        "windows": [asdict(window) for window in restored.log],
        "settings": asdict(settings),
        "stack": pipeline.describe(),
    }
    cells = sum(grid.numel() for grid in restored.grids)
    text = (
        f"{given.image}: {record['stack']['llm']} predicted {predicted} {restored.kind} tokens "
        f"of {cells}, blind; written to {given.target}"
    )
    details = [f"{name}: {value}" for name, value in restored.details.items() if isinstance(value, str)]
    out.result(record, "\n".join([text, *details]))

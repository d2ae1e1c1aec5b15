"""corrupted photograph ──► token ids of the clean one, predicted as features by a restorer.

Nothing here reads a masked pixel, a clean token or an example's pixels; see `inpaint` and `repair`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.grid_features import grid_features, nearest_tokens
from v2l.tasks.restoration.inpaint import MaskedPhotograph
from v2l.tasks.restoration.repair import CorruptedPhotograph
from v2l.tasks.restoration.restorer import TASKS, Restorer


def check_codes(pipeline: Pipeline, restorer: Restorer) -> None:
    """Refuse a restorer of other codes than the tokenizer's.

    Raises:
        V2LError: as said.
    """
    codes = pipeline.grid.code_fingerprint
    if restorer.settings.codes != codes:
        raise V2LError(
            f"the restorer belongs to the codes {restorer.settings.codes}",
            f"{codes}, those of the tokenizer",
            "v2l train-restorer with this tokenizer",
        )


@torch.inference_mode()
def fill_cells(pipeline: Pipeline, restorer: Restorer, photograph: MaskedPhotograph) -> Tensor:
    """(h, w) int64: the photograph's tokens, with predicted ones in hidden cells."""
    seen = grid_features(pipeline.grid, photograph.grey[None])
    restored = predicted_tokens(pipeline, restorer, seen, photograph.hidden[None], "mask")
    return torch.where(photograph.hidden, restored, photograph.ids)


@torch.inference_mode()
def repair_cells(
    pipeline: Pipeline, restorer: Restorer, photograph: CorruptedPhotograph, task: str
) -> Tensor:
    """(h, w) int64: predicted tokens of every cell; `task` is one of `TASKS`, but mask."""
    features = grid_features(pipeline.grid, photograph.corrupted[None])[0].flatten(0, 1)  # (h' · w', d)
    seen = features[photograph.sources].unflatten(0, photograph.grid)[None]
    nothing = torch.zeros(seen.shape[:-1], dtype=torch.bool)
    return predicted_tokens(pipeline, restorer, seen, nothing, task)


def predicted_tokens(
    pipeline: Pipeline, restorer: Restorer, seen: Tensor, masked: Tensor, task: str
) -> Tensor:
    """Features (1, h, w, d) and masked cells (1, h, w) ──► the predicted tokens (h, w)."""
    device, number = restorer.mean.device, torch.tensor([TASKS.index(task)])
    restored = restorer.restore(seen.to(device), masked.to(device), number.to(device))
    return nearest_tokens(pipeline.grid, restored)[0]

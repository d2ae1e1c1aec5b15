"""a photograph + a task ──► a scene: the clean square, what is left of it, and how every contestant restores it.

Protocols are never mixed. `paper`: the LLM's examples are noisy copies of the clean image's tokens, and even the damaged picture's global
words come from the clean image. `official`: the same with noise and shift of the official code. `blind`: nobody sees a hidden or an
undamaged pixel. Sources: V2L Tokenizer, arXiv 2403.07874, section 4.3; method of the official code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from v2l.corruptions import REGIONS, Blur, Rotation, Shift, corner_crop, draw_corruption
from v2l.errors import V2LError
from v2l.evaluation.inpainting_baselines import choice_fill, mean_fill, nearest_token_fill, telea_fill
from v2l.evaluation.reconstruction_methods import in_8_bits
from v2l.images import resize_shorter
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.inpaint import inpaint
from v2l.tasks.restoration.noisy_copies import vote
from v2l.tasks.restoration.oracle import Damage, Denoised, denoise
from v2l.tasks.restoration.repair import repair
from v2l.tasks.restoration.token_prediction import RestorationSettings
from v2l.tokens import ImageTokens

PROTOCOLS = ("paper", "official", "blind")
HIDING = ("inpaint", "outpaint")
LLM, VOTE, NEAREST = "LLM", "plurality vote", "nearest visible token"
FIRST, RANDOM = "first of the LLM's choices", "random one of the LLM's choices"
MEAN, TELEA, NOTHING, INVERSE = "mean fill", "Telea", "nothing done", "exact inverse"
AS_DAMAGED, MOVED, CEILING = "damaged tokens", "damaged tokens, moved back", "all tokens right"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scene:
    """One photograph and what happened to it.

    Attributes:
        task: inpaint, outpaint, deblur, unshift or unrotate.
        clean: (3, S, S) in [0, 1].
        damaged: (3, S, S) in [0, 1]; the clean image itself where pixels are hidden.
        hidden: (h, w) bool, the cells to tell.
        mask: (S, S) bool, their pixels.
        corruption: what damaged it; None where pixels are hidden, and for a crop of the corner.
    """

    task: str
    clean: Tensor
    damaged: Tensor
    hidden: Tensor
    mask: Tensor
    corruption: Blur | Shift | Rotation | None = None

    @property
    def hides(self) -> bool:
        """True when pixels are missing, False when all are there and damaged."""
        return self.task in HIDING


class Restored(NamedTuple):
    """A scene as all contestants restore it."""

    ids: dict[str, Tensor]  # (h, w) int64 local tokens, of those that have any
    told: Tensor  # (n,) int64 raster numbers of the cells that the LLM told
    pictures: dict[
        str, Tensor
    ]  # (3, S, S) in [0, 1]; none when the LLM was asked for a part of the windows only


@dataclass(frozen=True)
class SceneSettings:
    """What is restored, and how.

    Attributes:
        protocol: paper, official or blind.
        asking: how the LLM is asked.
        windows: at most so many windows of a scene, except by the blind protocol; None is all.
    """

    protocol: str = "paper"
    asking: RestorationSettings = field(default_factory=RestorationSettings)
    windows: int | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise V2LError(f"got the protocol {self.protocol!r}", ", ".join(PROTOCOLS), "--protocol paper")

    @property
    def blind(self) -> bool:
        """True when nobody sees the clean image."""
        return self.protocol == "blind"

    @property
    def official(self) -> bool:
        """True when noise and shift are those of the official code."""
        return self.protocol == "official"


def set_scene(pipeline: Pipeline, photograph: Tensor, task: str, seed: int, official: bool = False) -> Scene:
    """Damage a photograph.

    Args:
        pipeline: gives the size and the grid.
        photograph: (3, H, W) in [0, 1].
        task: one of `corruptions.TASKS`.
        seed: of the damage.
        official: shift by cropping the corner.
    """
    tokenizer = pipeline.tokenizer
    clean = in_8_bits(tokenizer.square(photograph[None])[0]).cpu()
    size, factor = clean.shape[-1], tokenizer.factor
    hidden = REGIONS[task]((size // factor, size // factor))
    mask = hidden.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    if task in HIDING:
        return Scene(task, clean, clean, hidden, mask)
    if task == "unshift" and official:
        return Scene(
            task, clean, in_8_bits(corner_crop(resize_shorter(photograph, size), size)), hidden, mask
        )
    corruption = draw_corruption(task, torch.Generator().manual_seed(seed))
    return Scene(task, clean, in_8_bits(corruption.damage(clean)), hidden, mask, corruption)


class Contestants:
    """Everyone who restores scenes.

    Args:
        pipeline: tokenizer and LLM.
        settings: what is restored, and how.
        examples: clean photographs (3, H, W), from which the blind protocol learns a damage.

    Raises:
        V2LError: the blind protocol has no examples.
    """

    def __init__(self, pipeline: Pipeline, settings: SceneSettings, examples: Sequence[Tensor] = ()) -> None:
        if settings.blind and not examples:
            raise V2LError(
                "got no example images",
                "clean photographs, other ones than are measured",
                "--examples FOLDER",
            )
        self.pipeline, self.settings, self.examples = pipeline, settings, examples

    def restore(self, scene: Scene, seed: int, progress: Progress | None = None) -> Restored:
        """Let everyone restore one scene.

        Args:
            scene: a photograph, damaged.
            seed: of whatever is drawn for it.
            progress: told (windows done, windows in all).
        """
        tokenizer = self.pipeline.tokenizer
        clean = ImageTokens(
            tokenizer.global_tokens(scene.clean[None])[1].cpu(),
            tokenizer.encode_local(scene.clean[None]).cpu(),
        )
        by_protocol = self._blindly if self.settings.blind else self._by_paper
        return by_protocol(scene, clean, seed, progress)

    def _by_paper(self, scene: Scene, clean: ImageTokens, seed: int, progress: Progress | None) -> Restored:
        damaged = (
            clean.local_ids
            if scene.hides
            else self.pipeline.tokenizer.encode_local(scene.damaged[None]).cpu()
        )
        damage = Damage(clean.local_ids[0], damaged[0], scene.hidden, sequential=scene.hides)
        settings = self.settings
        done = denoise(
            self.pipeline,
            damage,
            replace(settings.asking, seed=seed),
            settings.windows,
            settings.official,
            progress,
        )
        ids = {LLM: done.ids, VOTE: voted(done, scene.hidden), CEILING: clean.local_ids[0]}
        if scene.hides:
            ids[NEAREST] = nearest_token_fill(clean.local_ids[0], scene.hidden)
        else:
            ids[AS_DAMAGED] = damaged[0]
        told = torch.tensor([cell for window in done.log for cell in window.cells])
        if len(told) < int(scene.hidden.sum()):
            return Restored(ids, told, {})
        pictures = {row: self._decoded(clean.with_local_ids(of_row[None])) for row, of_row in ids.items()}
        return Restored(ids, told, pictures | pixel_rows(scene))

    def _blindly(self, scene: Scene, clean: ImageTokens, seed: int, progress: Progress | None) -> Restored:
        rows = self._blind_hidden if scene.hides else self._blind_damaged
        ids, pictures = rows(scene, clean.local_ids[0], replace(self.settings.asking, seed=seed), progress)
        told = scene.hidden.flatten().nonzero().flatten()
        return Restored(ids, told, pictures | pixel_rows(scene))

    def _blind_hidden(
        self, scene: Scene, clean: Tensor, asking: RestorationSettings, progress: Progress | None
    ) -> tuple[dict, dict]:
        done = inpaint(self.pipeline, scene.damaged, scene.mask, asking, progress, self.examples)
        seen = done.tokens.local_ids[0]
        ids = {
            LLM: seen,
            FIRST: choice_fill(seen, done.choices),
            RANDOM: choice_fill(seen, done.choices, Random(asking.seed)),
            NEAREST: nearest_token_fill(seen, scene.hidden),
            CEILING: torch.where(scene.hidden, clean, seen),
        }
        return ids, {row: in_8_bits(done.paint(of_row[None])) for row, of_row in ids.items()}

    def _blind_damaged(
        self, scene: Scene, clean: Tensor, asking: RestorationSettings, progress: Progress | None
    ) -> tuple[dict, dict]:
        done = repair(self.pipeline, scene.damaged, scene.corruption, self.examples, asking, progress)
        ids = {
            LLM: done.tokens.local_ids[0],
            FIRST: choice_fill(done.moved, done.choices),
            RANDOM: choice_fill(done.moved, done.choices, Random(asking.seed)),
            MOVED: done.moved,
            AS_DAMAGED: self.pipeline.tokenizer.encode_local(scene.damaged[None]).cpu()[0],
            CEILING: clean,
        }
        return ids, {row: in_8_bits(done.paint(of_row[None])) for row, of_row in ids.items()}

    def _decoded(self, tokens: ImageTokens) -> Tensor:
        return in_8_bits(self.pipeline.tokenizer.decode(tokens)[0].cpu())


def pixel_rows(scene: Scene) -> dict[str, Tensor]:
    """The baselines that see pixels, not tokens."""
    if scene.hides:
        return {
            MEAN: in_8_bits(mean_fill(scene.damaged, scene.mask)),
            TELEA: telea_fill(scene.damaged, scene.mask),
        }
    inverse = scene.corruption.undo(scene.damaged) if scene.corruption else None
    return {NOTHING: scene.damaged} | ({INVERSE: inverse} if inverse is not None else {})


def voted(done: Denoised, hidden: Tensor) -> Tensor:
    """The vote of the noisy copies in every hidden cell: (h, w) int64."""
    ids = done.ids.clone()
    for row, column in hidden.nonzero().tolist():
        ids[row, column] = vote(done.supports, row * hidden.shape[1] + column)
    return ids

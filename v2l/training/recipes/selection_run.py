"""settings + images ──► a finished run of the selection (LaVIT), from its last state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from v2l.codebook.codebook import Codebook
from v2l.processes import Accelerator, start_processes
from v2l.progress import Progress, silent
from v2l.sources import ImageFile
from v2l.tokenizers.patch_words import OWN, SHIPPED, SHIPPED_WORDS, PatchWords
from v2l.tokenizers.selection.model import SelectionTokenizer
from v2l.tokenizers.selection.settings import SelectionConfig
from v2l.training.loop import OnStep, TrainingLoop
from v2l.training.plan import Plan, plan_run
from v2l.training.recipes.patch_data import patch_features
from v2l.training.recipes.selection import SelectionRecipe, words_of_patches


@dataclass(frozen=True)
class SelectionRun:
    """What one run needs besides its config.

    Attributes:
        images: files to train on.
        run: folder for states, log and result (run/model).
        words: a global codebook; None is the one that ships.
        device: as in `v2l.device.choose_device`.
        seed: of everything that is drawn at random.
    """

    images: Sequence[ImageFile]
    run: Path
    words: Path | None = None
    device: str = "auto"
    seed: int = 0


def train_selection(
    config: SelectionConfig, settings: SelectionRun, on_step: OnStep, progress: Progress = silent
) -> int:
    """Train a selection, or go on with a run that was stopped; returns how many steps are done.

    Args:
        config: sizes, weights, schedule.
        settings: data and places.
        on_step: called with the number of steps done and the terms of the last.
        progress: called while images are encoded.

    Raises:
        V2LError: no readable image, a run folder of other settings, or a full disk.
    """
    recipe = selection_recipe(config, settings, progress)
    loop = TrainingLoop(recipe, recipe.loop_settings(settings.run))
    return loop.train(loop.resume(), on_step)


def plan_selection(config: SelectionConfig, settings: SelectionRun, progress: Progress = silent) -> Plan:
    """Measure a few steps of a run, with its own images.

    Raises:
        V2LError: as `train_selection` does.
    """
    return plan_run(selection_recipe(config, settings, progress), config.training.steps)


def selection_recipe(
    config: SelectionConfig, settings: SelectionRun, progress: Progress = silent
) -> SelectionRecipe:
    """Encode the images, choose the words, and build the network."""
    processes = start_processes(settings.device)
    place = SHIPPED if settings.words is None else OWN
    words = PatchWords(Codebook.load(settings.words or SHIPPED_WORDS), place)
    return build_recipe(config, settings, words, processes, progress)


def build_recipe(
    config: SelectionConfig,
    settings: SelectionRun,
    words: PatchWords,
    processes: Accelerator,
    progress: Progress = silent,
) -> SelectionRecipe:
    """As `selection_recipe`, with words whose encoder may be loaded already."""
    encoder = words.encoder(processes.device)
    features = patch_features(encoder, settings.images, config.network.side, progress)
    rows = words_of_patches(words, encoder, features, config.network.words_used)
    torch.manual_seed(settings.seed)
    tokenizer = SelectionTokenizer(words, config.network, features.rows.shape[-1], rows).to(processes.device)
    return SelectionRecipe(tokenizer, features, config, processes, settings.seed)

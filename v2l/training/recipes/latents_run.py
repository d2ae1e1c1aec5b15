"""settings + images ──► a finished run of the latent tokenizer (TiTok), from its last state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from v2l.perceptual import load_perceptual
from v2l.processes import Accelerator, start_processes
from v2l.progress import Progress, silent
from v2l.sources import ImageFile
from v2l.tokenizers.latents.frozen_grid import FrozenGrid
from v2l.tokenizers.latents.model import TiTokTokenizer
from v2l.tokenizers.latents.settings import LatentConfig
from v2l.training.loop import OnStep, TrainingLoop
from v2l.training.plan import Plan, plan_run
from v2l.training.recipes.latent_data import grid_features
from v2l.training.recipes.latents import LatentRecipe


@dataclass(frozen=True)
class LatentRun:
    """What one run needs besides its config.

    Attributes:
        images: files to train on.
        run: folder for states, log, pictures and result (run/model).
        device: as in `v2l.device.choose_device`.
        seed: of everything that is drawn at random.
    """

    images: Sequence[ImageFile]
    run: Path
    device: str = "auto"
    seed: int = 0


def train_latents(
    config: LatentConfig, settings: LatentRun, on_step: OnStep, progress: Progress = silent
) -> int:
    """Train a latent tokenizer, or go on with a run that was stopped; returns how many steps are done.

    Args:
        config: sizes, weights, schedule.
        settings: data and places.
        on_step: called with the number of steps done and the terms of the last.
        progress: called while images are encoded.

    Raises:
        V2LError: no readable image, a run folder of other settings, or a full disk.
    """
    recipe = latent_recipe(config, settings, progress)
    loop = TrainingLoop(recipe, recipe.loop_settings(settings.run))
    return loop.train(loop.resume(), on_step)


def plan_latents(config: LatentConfig, settings: LatentRun, progress: Progress = silent) -> Plan:
    """Measure a few steps of each stage of a run, with its own images.

    Raises:
        V2LError: as `train_latents` does.
    """
    return plan_run(latent_recipe(config, settings, progress), config.training.steps)


def latent_recipe(config: LatentConfig, settings: LatentRun, progress: Progress = silent) -> LatentRecipe:
    """Encode the images by the grid tokenizer that ships, and build the networks."""
    return build_recipe(config, settings, FrozenGrid.shipped(), start_processes(settings.device), progress)


def build_recipe(
    config: LatentConfig,
    settings: LatentRun,
    grid: FrozenGrid,
    processes: Accelerator,
    progress: Progress = silent,
) -> LatentRecipe:
    """As `latent_recipe`, with a grid tokenizer that is loaded."""
    network, training = config.network, config.training
    features = grid_features(grid.on(processes.device), settings.images, network.image_size, progress)
    torch.manual_seed(settings.seed)
    weights = (training.commitment_weight, training.codebook_weight)
    tokenizer = TiTokTokenizer(network, grid, weights=weights).to(processes.device)
    perceptual = load_perceptual(training.perceptual, processes.device)
    return LatentRecipe(tokenizer, features, config, perceptual, processes, settings.seed)

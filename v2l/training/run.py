"""settings + images + codebooks ──► a finished training run, from whatever state it was left in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from v2l.codebook.codebook import Codebook
from v2l.codebook.filtering import image_features
from v2l.codebook.shards import Progress, Shards, silent
from v2l.config import Config
from v2l.datasets import CropSettings
from v2l.encoders import JointEncoder, load_encoder
from v2l.processes import start_processes
from v2l.tokenizer.model import V2LTokenizer
from v2l.training.data import TrainingImages
from v2l.training.perceptual import load_perceptual
from v2l.training.trainer import OnStep, Trainer
from v2l.zoo import cache_home

SCALES = (0.875, 1.25)  # of the image size: how large images are made before a random crop


@dataclass(frozen=True)
class RunSettings:
    """What one run needs besides its config.

    Attributes:
        images: files to learn from.
        codebooks: what `v2l build-codebook` wrote.
        run: folder for states, log and result (run/model).
        device: as in `v2l.device.choose_device`.
        seed: of everything that is drawn.
    """

    images: Sequence[Path]
    codebooks: Path
    run: Path
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        steps: how many are done; fewer than the config's when a signal asked to stop.
        unreadable: files that were left out, because they are no readable images.
    """

    steps: int
    unreadable: tuple[Path, ...]


def train(config: Config, settings: RunSettings, on_step: OnStep, progress: Progress = silent) -> TrainingResult:
    """Train a tokenizer, or go on with a run that was stopped; its result is written to run/model.

    Args:
        config: sizes, weights, schedule.
        settings: data and places.
        on_step: told the number of steps done and the loss terms of the last.
        progress: told of the preparation (encoding images).

    Raises:
        V2LError: no readable image, codebooks of another encoder, a run folder of other settings, or a full disk.
    """
    processes = start_processes(settings.device, config.training.precision)
    torch.manual_seed(settings.seed)  # every process builds the same network
    model = V2LTokenizer(config, *(Codebook.load(settings.codebooks / name) for name in ("local", "global")))
    encoder = load_encoder(config.models.encoder, str(processes.device))
    model.use_joint_encoder(encoder)
    images, unreadable = training_images(model, encoder, settings, progress)
    perceptual = load_perceptual(config.training.perceptual, processes.device)
    trainer = Trainer(model, images, perceptual, processes, settings.run, settings.seed)
    return TrainingResult(trainer.train(trainer.resume(), on_step), tuple(unreadable))


def training_images(
    model: V2LTokenizer, encoder: JointEncoder, settings: RunSettings, progress: Progress
) -> tuple[TrainingImages, list[Path]]:
    """The readable images with their global words, and the files that are none; vectors are kept in the user's cache.

    Raises:
        V2LError: not one image is readable.
    """
    config = model.config
    shards = Shards(cache_home() / "images", "encoding images", progress, 256)
    features, unreadable = image_features(encoder, settings.images, shards)
    _, global_ids = model.global_codebook.nearest_distinct(features, config.model.global_tokens)
    left_out = set(unreadable)
    readable = [path for path in settings.images if path not in left_out]
    size, whole = config.training.crop_size, config.model.image_size
    shorter = (max(size, round(SCALES[0] * whole)), max(size, round(SCALES[1] * whole)))
    return TrainingImages(readable, global_ids, CropSettings(size, shorter, config.training.random_crop, settings.seed)), unreadable

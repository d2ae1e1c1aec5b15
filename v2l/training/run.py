"""settings + images + codebooks ──► a finished training run, from whatever state it was left in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from v2l.checkpoint import file_hash, load_tensors, read_manifest
from v2l.codebook.codebook import Codebook
from v2l.codebook.filtering import image_features
from v2l.config import Config
from v2l.datasets import CropSettings
from v2l.encoders import JointEncoder, load_encoder
from v2l.perceptual import load_perceptual
from v2l.processes import Accelerator, start_processes
from v2l.shards import Progress, Shards, silent
from v2l.sources import ImageFile
from v2l.tokenizers.grid.model import KIND, SCHEMA, V2LTokenizer, load_strictly
from v2l.training.data import TrainingImages
from v2l.training.trainer import OnStep, Trainer
from v2l.zoo import cache_home

SCALES = (0.875, 1.25)  # of the image size: how large images are made before a random crop


@dataclass(frozen=True)
class RunSettings:
    """What one run needs besides its config.

    Attributes:
        images: files to learn from.
        codebooks: what `v2l build-codebook` wrote.
        run: folder for states, log, pictures and result (run/model).
        device: as in `v2l.device.choose_device`.
        seed: of everything that is drawn.
        init: a checkpoint whose weights a new run begins with.
    """

    images: Sequence[ImageFile]
    codebooks: Path
    run: Path
    device: str = "auto"
    seed: int = 0
    init: Path | None = None


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to.

    Attributes:
        steps: how many are done; fewer than the config's when a signal asked to stop.
        unreadable: files that were left out, because they are no readable images.
        enlarged: images that were smaller than the crop, of those seen now.
    """

    steps: int
    unreadable: tuple[ImageFile, ...]
    enlarged: int


@dataclass(frozen=True)
class Start:
    """What a run begins with, before it has looked at an image.

    Attributes:
        processes: the world of processes.
        model: the tokenizer with its first weights.
        origin: hash of those weights when they are a checkpoint's.
    """

    processes: Accelerator
    model: V2LTokenizer
    origin: str | None

    @classmethod
    def of(cls, config: Config, settings: RunSettings) -> Self:
        """Join the processes and build the network, the same one in each of them.

        Raises:
            V2LError: no codebooks there, or no checkpoint of this config to begin with.
        """
        processes = start_processes(settings.device, config.training.precision)
        torch.manual_seed(settings.seed)
        model = V2LTokenizer(
            config, *(Codebook.load(settings.codebooks / name) for name in ("local", "global"))
        )
        return cls(processes, model, begin_with(model, settings.init) if settings.init else None)

    def trainer(self, images: TrainingImages, settings: RunSettings) -> Trainer:
        """The run itself."""
        perceptual = load_perceptual(self.model.config.training.perceptual, self.processes.device)
        return Trainer(
            self.model, images, perceptual, self.processes, settings.run, settings.seed, self.origin
        )


def train(
    config: Config, settings: RunSettings, on_step: OnStep, progress: Progress = silent
) -> TrainingResult:
    """Train a tokenizer, or go on with a run that was stopped; its result is written to run/model.

    Args:
        config: sizes, weights, schedule.
        settings: data and places.
        on_step: told the number of steps done and the loss terms of the last.
        progress: told of the preparation (encoding images).

    Raises:
        V2LError: no readable image, codebooks of another encoder, a run folder of other settings, or a full disk.
    """
    start = Start.of(config, settings)
    encoder = load_encoder(config.models.encoder, str(start.processes.device))
    start.model.use_joint_encoder(encoder)
    images, unreadable = training_images(start.model, encoder, settings, progress)
    trainer = start.trainer(images, settings)
    steps = trainer.train(trainer.resume(), on_step)
    return TrainingResult(steps, tuple(unreadable), images.images.enlarged)


def training_images(
    model: V2LTokenizer, encoder: JointEncoder, settings: RunSettings, progress: Progress
) -> tuple[TrainingImages, list[ImageFile]]:
    """The readable images with their global words, and the files that are none; vectors are kept in the user's cache.

    Raises:
        V2LError: not one image is readable.
    """
    shards = Shards(cache_home() / "images", "encoding images", progress, 256)
    features, unreadable = image_features(encoder, settings.images, shards)
    _, global_ids = model.nearest_words(features)
    left_out = set(unreadable)
    readable = [file for file in settings.images if file not in left_out]
    return TrainingImages(readable, global_ids, crop_settings(model.config, settings.seed)), unreadable


def begin_with(model: V2LTokenizer, checkpoint: Path) -> str:
    """Give a tokenizer the weights of a checkpoint; returns a hash of them.

    Raises:
        V2LError: no such checkpoint, or it is damaged, or its weights do not fit the config.
    """
    read_manifest(checkpoint, KIND, SCHEMA)
    weights = checkpoint / "model.safetensors"
    load_strictly(model, load_tensors(weights), checkpoint)
    return file_hash(weights)[:16]


def crop_settings(config: Config, seed: int) -> CropSettings:
    """How a config's crops are taken."""
    size, whole = config.training.crop_size, config.model.image_size
    shorter = (max(size, round(SCALES[0] * whole)), max(size, round(SCALES[1] * whole)))
    return CropSettings(size, shorter, config.training.random_crop, seed, config.model.resize == "two-step")

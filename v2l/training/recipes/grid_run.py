"""settings + images + codebooks ──► a finished run of V2L or VQGAN, from its last state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from v2l.checkpoint import file_hash, load_tensors, manifest_kind, read_manifest
from v2l.codebook.codebook import Codebook
from v2l.config import Config
from v2l.encoders import JointEncoder, load_encoder
from v2l.encoders.image_features import image_features
from v2l.errors import V2LError
from v2l.images import Skipped, load_images
from v2l.perceptual import load_perceptual
from v2l.processes import Accelerator, start_processes
from v2l.progress import Progress, silent
from v2l.shards import Shards
from v2l.sources import ImageFile
from v2l.tokenizers.cnn.autoencoder import GridAutoencoder
from v2l.tokenizers.contract import SCHEMA
from v2l.tokenizers.grid.model import KIND, V2LTokenizer
from v2l.tokenizers.module_weights import load_strictly
from v2l.tokenizers.registry import member_named
from v2l.tokenizers.vqgan.model import VQGANTokenizer
from v2l.training.data import TrainingImages, crop_settings
from v2l.training.loop import OnStep, TrainingLoop
from v2l.training.plan import TIMED_STEPS, Plan, plan_run
from v2l.training.recipes.grid import GridRecipe, loop_settings
from v2l.training.recipes.vqgan import VqganRecipe, start_with_networks
from v2l.zoo import cache_home


@dataclass(frozen=True)
class RunSettings:
    """What one run needs besides its config.

    Attributes:
        images: files to train on.
        codebooks: what `v2l build-codebook` wrote.
        run: folder for states, log, pictures and result (run/model).
        device: as in `v2l.device.choose_device`.
        seed: of everything that is drawn at random.
        init: a checkpoint whose weights a new run starts with.
    """

    images: Sequence[ImageFile]
    codebooks: Path
    run: Path
    device: str = "auto"
    seed: int = 0
    init: Path | None = None


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        steps: how many are done; fewer than the config's if a signal requested a stop.
        unreadable: files that were left out, because they are not readable images.
        enlarged: images that were smaller than the crop, of those seen by this call.
    """

    steps: int
    unreadable: tuple[ImageFile, ...]
    enlarged: int


@dataclass(frozen=True)
class Start:
    """What a run starts with, before it has read an image.

    Attributes:
        processes: the processes that train together.
        model: the tokenizer with its first weights.
        origin: hash of those weights if they are a checkpoint's.
    """

    processes: Accelerator
    model: GridAutoencoder
    origin: str | None

    @classmethod
    def of(cls, config: Config, settings: RunSettings) -> Self:
        """Join the processes and build the network, the same one in each of them.

        Raises:
            V2LError: there are no codebooks, or no checkpoint of this config to start with.
        """
        processes = start_processes(settings.device, config.training.precision)
        torch.manual_seed(settings.seed)
        model = new_tokenizer(config, settings.codebooks)
        return cls(processes, model, start_with(model, settings.init) if settings.init else None)

    def recipe(self, images: TrainingImages, seed: int) -> GridRecipe:
        """The recipe, with the perceptual network that the config names."""
        perceptual = load_perceptual(self.model.config.training.perceptual, self.processes.device)
        recipe = VqganRecipe if isinstance(self.model, VQGANTokenizer) else GridRecipe
        return recipe(self.model, images, perceptual, self.processes, seed, self.origin)


def new_tokenizer(config: Config, codebooks: Path) -> GridAutoencoder:
    """The tokenizer that a config names, with random weights; VQGAN needs no codebooks."""
    if config.model.tokenizer == VQGANTokenizer.NAME:
        return VQGANTokenizer(config)
    return V2LTokenizer(config, Codebook.load(codebooks / "local"), Codebook.load(codebooks / "global"))


def train(
    config: Config, settings: RunSettings, on_step: OnStep, progress: Progress = silent
) -> TrainingResult:
    """Train a tokenizer, or go on with a run that was stopped; the result is written to run/model.

    Args:
        config: sizes, weights, schedule.
        settings: data and places.
        on_step: called with the number of steps done and the loss terms of the last.
        progress: called during the preparation (encoding images).

    Raises:
        V2LError: no readable image, codebooks of another encoder, a run folder of other settings, or a full
            disk.
    """
    start = Start.of(config, settings)
    if isinstance(start.model, V2LTokenizer):
        encoder = load_encoder(config.models.encoder, str(start.processes.device))
        start.model.use_joint_encoder(encoder)
        images, unreadable = training_images(start.model, encoder, settings, progress)
    else:
        images, unreadable = images_without_words(config, settings, progress)
    recipe = start.recipe(images, settings.seed)
    loop = TrainingLoop(recipe, loop_settings(recipe, settings.run))
    steps = loop.train(loop.resume(), on_step)
    return TrainingResult(steps, tuple(unreadable), images.images.enlarged)


def plan_training(config: Config, settings: RunSettings) -> Plan:
    """Measure a few steps of each phase of a run, with its own images; nothing is written.

    Raises:
        V2LError: as `train` does; or not one of the first images is readable.
    """
    start = Start.of(config, settings)
    return plan_run(start.recipe(_first_images(config, settings), settings.seed), config.training.steps)


def training_images(
    model: V2LTokenizer, encoder: JointEncoder, settings: RunSettings, progress: Progress
) -> tuple[TrainingImages, list[ImageFile]]:
    """The readable images with their global words, and the files that are not readable.

    Image vectors are kept in the user's cache.

    Raises:
        V2LError: not one image is readable.
    """
    shards = Shards(cache_home() / "images", "encoding images", progress, 256)
    features, unreadable = image_features(encoder, settings.images, shards)
    _, global_ids = model.nearest_words(features)
    left_out = set(unreadable)
    readable = [file for file in settings.images if file not in left_out]
    return TrainingImages(readable, crop_settings(model.config, settings.seed), global_ids), unreadable


def images_without_words(
    config: Config, settings: RunSettings, progress: Progress
) -> tuple[TrainingImages, list[ImageFile]]:
    """The readable images, and the files that are not readable.

    Raises:
        V2LError: not one image is readable.
    """
    skipped, readable = Skipped(), []
    for file, _ in load_images(settings.images, skipped):
        readable.append(file)
        progress("reading images", len(readable) + len(skipped), len(settings.images))
    if not readable:
        raise V2LError(f"none of {len(settings.images)} file(s) is a readable image", "photographs")
    unreadable = [file for file, _ in skipped.files]
    return TrainingImages(readable, crop_settings(config, settings.seed)), unreadable


def start_with(model: GridAutoencoder, checkpoint: Path) -> str:
    """Give a tokenizer the weights of a checkpoint; returns a hash of them.

    A VQGAN can start with the networks of V2L, too.

    Raises:
        V2LError: no such checkpoint, or it is damaged, or its weights do not fit the config.
    """
    if isinstance(model, VQGANTokenizer) and manifest_kind(checkpoint, "tokenizer") == KIND:
        read_manifest(checkpoint, KIND, SCHEMA)
        return start_with_networks(model, checkpoint)
    read_manifest(checkpoint, member_named(model.NAME).kind, SCHEMA)
    weights = checkpoint / "model.safetensors"
    load_strictly(model, load_tensors(weights), checkpoint)
    return file_hash(weights)[:16]


def _first_images(config: Config, settings: RunSettings) -> TrainingImages:
    """As many images as a plan reads, all with the first global words.

    Which words they are does not change the time.
    """
    wanted = config.training.batch_size * config.training.accumulate * (TIMED_STEPS + 1)
    readable = [file for file, _ in load_images(settings.images[:wanted])]
    if not readable:
        raise V2LError(
            f"none of the first {min(wanted, len(settings.images))} files is a readable image",
            "photographs",
            "another folder",
        )
    global_ids = torch.arange(config.model.global_tokens).expand(len(readable), -1)
    return TrainingImages(readable, crop_settings(config, settings.seed), global_ids)

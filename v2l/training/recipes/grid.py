"""images ──► a trained tokenizer with a grid of codes: its data, fitted parts, pictures and checkpoint.

V2L is trained by this recipe, VQGAN by that of `vqgan.py`, which builds on it.

Source: V2L Tokenizer, arXiv 2403.07874, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from v2l.config import Config, config_to_dict
from v2l.drawings import image_grid
from v2l.perceptual import PerceptualDistance
from v2l.processes import Accelerator
from v2l.tokenizers.cnn.autoencoder import GridAutoencoder
from v2l.tokenizers.cnn.encoder import to_image_range, to_network_range
from v2l.training.data import Batch, ImageBatches, TrainingImages
from v2l.training.loop import LoopSettings
from v2l.training.recipe import Phase, Recipe
from v2l.training.recipes.grid_losses import GridObjective

PAGE_IMAGES = 8
SECTIONS = ("model", "training")  # of the config: what a run depends on
# No weight depends on these: they may differ when a run goes on.
FREE_SETTINGS = ("save_every", "keep_checkpoints", "log_every", "picture_every", "workers")


class GridRecipe(GridObjective, Recipe[Batch]):
    """A tokenizer with a grid of codes in training.

    Args:
        tokenizer: the tokenizer to train; its config says how.
        images: what is trained on.
        perceptual: a frozen perceptual network, or None.
        processes: the processes that train together.
        seed: of everything that is drawn at random.
        origin: hash of the checkpoint whose weights the tokenizer starts with; None if they are random.
    """

    name, result = "grid", "model"
    fit_batches = 24  # the linear path and the codebook are fitted to the images of this many steps

    def __init__(
        self,
        tokenizer: GridAutoencoder,
        images: TrainingImages,
        perceptual: PerceptualDistance | None,
        processes: Accelerator,
        seed: int = 0,
        origin: str | None = None,
    ) -> None:
        super().__init__(tokenizer, perceptual, processes, seed)
        self.images, self.origin = images, origin
        size = self.config.batch_size * self.config.accumulate
        self.data = ImageBatches.of(images, size, seed, processes, self.config.workers)
        self.examples_per_step = size * processes.num_processes
        self.fit_steps = self._fit_steps()

    def batches(self, first: int, last: int) -> Iterator[Sequence[Batch]]:
        for batch in self.data.between(first, last):
            yield self.parts(batch)

    def metadata(self) -> dict[str, Any]:
        return fixed_settings(self.tokenizer.config) | {
            "seed": self.seed,
            "processes": self.processes.num_processes,
            "images": self.images.description,
            "codebooks": self.tokenizer.codes_description,
            "words": self.tokenizer.words_fingerprint,
            "first weights": self.origin,
        }

    def metadata_defaults(self) -> dict[str, Any]:
        """What an older state lacks: the settings that v2l did not have yet, and the words' hash."""
        return fixed_settings(Config()) | {"words": self.tokenizer.words_fingerprint}

    def fit(self, step: int) -> None:
        """Fit the linear path before step 0, and the codebook when the quantizer starts.

        The result is the same in every process.
        """
        if step == 0 and self.tokenizer.linear is not None:
            images = torch.cat(list(self._coming_images(step)))
            self.tokenizer.linear.fit(self.processes.gather(images))
        if step == self.schedule.fitting_step:
            self._fit_codebook(step)

    def page(self, step: int) -> Tensor:
        """The first images above their reconstructions: the same images every time."""
        quantizes = self.schedule.quantizes(step - 1)
        return reconstruction_page(self.tokenizer, self.images.first(PAGE_IMAGES), None if quantizes else 0.0)

    def phases(self, steps: int) -> list[Phase]:
        return self.schedule.phases(steps)

    def save_result(self, folder: Path, step: int) -> None:
        self.tokenizer.facts = {
            "steps": step,
            "images": len(self.images),
            "image_fingerprint": self.images.fingerprint,
            "seed": self.seed,
            "first_weights": self.origin,
        }
        self.tokenizer.save_pretrained(folder)

    def _fit_steps(self) -> set[int]:
        """The steps before which something is fitted.

        Step 0, for new weights with a linear path; and the first step with the quantizer, if there
        are steps before it.
        """
        new_linear_path = self.tokenizer.linear is not None and self.origin is None
        quantizer = {self.schedule.fitting_step} if self.schedule.fitting_step > 0 else set()
        return quantizer | ({0} if new_linear_path else set())

    def _fit_codebook(self, step: int) -> None:
        with torch.no_grad():
            maps = [self.tokenizer.features(images) for images in self._coming_images(step)]
        # (B, d, h, w) each → (N, d): one row for each cell
        features = torch.cat([part.movedim(1, -1).reshape(-1, part.shape[1]).float() for part in maps])
        torch.manual_seed(self.seed)
        self.tokenizer.quantizer.fit(self.processes.gather(features))

    def _coming_images(self, step: int) -> Iterator[Tensor]:
        """The images of this process's next steps, (B, 3, S, S) in [-1, 1]."""
        last = min(step + self.fit_batches, self.config.steps)
        data = ImageBatches.of(self.images, self.data.batch_size, self.seed, self.processes)
        for batch in data.between(step, last):
            for images in torch.split(batch.images, self.config.batch_size):
                yield to_network_range(images.to(self.processes.device))


def fixed_settings(config: Config) -> dict[str, Any]:
    """The settings that must be equal when a run goes on, as `section.key`."""
    sections = config_to_dict(config)
    return {
        f"{section}.{key}": value
        for section in SECTIONS
        for key, value in sections[section].items()
        if key not in FREE_SETTINGS
    }


def loop_settings(recipe: GridRecipe, run: Path) -> LoopSettings:
    """What the recipe's config says about the run."""
    config = recipe.config
    return LoopSettings(
        run,
        config.steps,
        config.save_every,
        config.keep_checkpoints,
        config.log_every,
        config.picture_every,
        ema_decay=config.ema_decay,
    )


@torch.no_grad()
def reconstruction_page(tokenizer: GridAutoencoder, batch: Batch, noise: float | None) -> Tensor:
    """Images above their reconstructions: (3, H, W) float32 in [0, 1].

    Args:
        tokenizer: as it is; its training mode is put back.
        batch: images in [0, 1] and their global words.
        noise: None quantizes; 0 leaves the quantizer out.
    """
    mode, device = tokenizer.training, tokenizer.device
    images = to_network_range(batch.images.to(device))
    output = tokenizer.eval()(images, batch.global_ids.to(device), noise)
    tokenizer.train(mode)
    rows = [list(batch.images), list(to_image_range(output.images).cpu())]
    return image_grid(rows, [[""] * len(batch.images)] * 2, cell=batch.images.shape[-1])

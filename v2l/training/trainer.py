"""images ──► a trained tokenizer: the loop.

Source: V2L Tokenizer, arXiv 2403.07874, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from v2l.config import config_to_dict
from v2l.perceptual import PerceptualDistance
from v2l.processes import Accelerator
from v2l.tokenizers.grid.encoder import to_network_range
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.training.data import Batch, Order, TrainingImages, batches
from v2l.training.interrupt import StopRequest
from v2l.training.log import RunLog, reconstruction_page
from v2l.training.state import TrainingState, saved_states
from v2l.training.step import Terms, TrainingStep
from v2l.training.weight_average import WeightAverage

FIT_BATCHES = 24  # whose features the codebook is fitted to
PICTURED = 8  # images on a page
MAY_CHANGE = (
    "save_every",
    "keep_checkpoints",
    "log_every",
    "picture_every",
    "workers",
)  # between two runs: no weight depends on them

OnStep = Callable[[int, Terms], None]


class Trainer:
    """A training run.

    Args:
        model: the tokenizer to train; its config says how.
        images: what it learns from.
        perceptual: a frozen perceptual network, or None.
        processes: the world of processes.
        run: folder for states, log and result.
        seed: of everything that is drawn.
        origin: hash of the weights that the tokenizer begins with, when they are those of a checkpoint.
    """

    def __init__(
        self,
        model: V2LTokenizer,
        images: TrainingImages,
        perceptual: PerceptualDistance | None,
        processes: Accelerator,
        run: Path,
        seed: int = 0,
        origin: str | None = None,
    ) -> None:
        self.tokenizer, self.images, self.processes, self.run, self.seed, self.origin = (
            model,
            images,
            processes,
            run,
            seed,
            origin,
        )
        self.config = model.config.training
        self.make_step = TrainingStep(model, perceptual, processes, seed)
        self.schedule = self.make_step.schedule
        average = WeightAverage(model, self.config.ema_decay) if self.config.ema_decay else None
        self.state = TrainingState(self.make_step.learners, average)

    @property
    def facts(self) -> dict[str, Any]:
        """What must be the same when a run goes on, by name."""
        sections = config_to_dict(self.tokenizer.config)
        settings = {
            f"{name}.{key}": value
            for name in ("model", "training")
            for key, value in sections[name].items()
            if key not in MAY_CHANGE
        }
        books = self.tokenizer.local_codebook, self.tokenizer.global_codebook
        return settings | {
            "seed": self.seed,
            "processes": self.processes.num_processes,
            "images": self.images.description,
            "codebooks": f"{len(books[0]):,} and {len(books[1]):,} words of {books[0].source.llm} ({books[0].source.llm_fingerprint})",
            "first weights": self.origin,
        }

    def resume(self) -> int:
        """Go back to the last state of the run, if there is one; returns the step to begin with.

        Raises:
            V2LError: the state belongs to other settings or images.
        """
        states = saved_states(self.run)
        return self.state.load(states[-1], self.facts) if states else 0

    def train(self, first: int, on_step: OnStep) -> int:
        """Train from one step to the config's last, or until asked to stop; states are saved on the way.

        Args:
            first: the step to begin with, as `resume` gave it.
            on_step: told the number of steps done and the terms of the last.

        Returns:
            How many steps are done now.

        Raises:
            V2LError: the loss was not finite for several steps in a row, or a state cannot be written.
        """
        done = first
        with (
            StopRequest() as stop,
            RunLog(self.run, first) if self.processes.is_main_process else nullcontext() as log,
        ):
            for done, batch in enumerate(self.batches(first, self.config.steps), start=first + 1):
                terms = self.step(done - 1, batch)
                if log:
                    self._log(log, done, terms)
                on_step(done, terms)
                leaving = self._anywhere(stop.requested)
                if self._due(done, self.config.save_every) or leaving:
                    self.save(done)
                if leaving:
                    break
        return done

    def step(self, step: int, batch: Batch) -> Terms:
        """One step of both networks, after what must be fitted before it; returns the loss terms by name."""
        self._fit(step)
        terms = self.make_step(step, batch)
        if self.state.average:
            begun = self.schedule.fitting_step if self.schedule.quantizes(step) else 0
            self.state.average.update(step - begun)
        return terms

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """This process's share of the steps from one to before another."""
        return batches(self.images, self._order(first, last), self.config.workers)

    def save(self, step: int) -> None:
        """Write the state, and the tokenizer with the weights that it ships with."""
        self.processes.wait_for_everyone()
        if self.processes.is_main_process:
            self.state.save(self.run, step, self.facts, self.config.keep_checkpoints)
            self.tokenizer.facts = {
                "steps": step,
                "images": len(self.images),
                "image_fingerprint": self.images.fingerprint,
                "seed": self.seed,
                "first_weights": self.origin,
            }
            with self._shipped_weights():
                self.tokenizer.save_pretrained(self.run / "model")
        self.processes.wait_for_everyone()

    def page(self, step: int) -> Tensor:
        """The first images above their reconstructions after `step` steps: (3, H, W) in [0, 1], the same images every time."""
        pairs = [self.images[0, index] for index in range(min(PICTURED, len(self.images)))]
        batch = Batch(*(torch.stack(column) for column in zip(*pairs, strict=True)))
        with self._shipped_weights():
            return reconstruction_page(
                self.tokenizer, batch, None if self.schedule.quantizes(step - 1) else 0.0
            )

    def _log(self, log: RunLog, done: int, terms: Terms) -> None:
        if self._due(done, self.config.log_every) or terms["skipped"]:
            log.write(done, terms)
        if self.config.picture_every and self._due(done, self.config.picture_every):
            log.picture(done, self.page(done))

    def _anywhere(self, here: bool) -> bool:
        """Whether something is so in any process; all of them leave after the same step."""
        return bool(self.processes.reduce(torch.tensor(float(here), device=self.processes.device), "sum") > 0)

    def _due(self, done: int, every: int) -> bool:
        return done % every == 0 or done == self.config.steps

    def _shipped_weights(self) -> Any:
        return self.state.average.in_network() if self.state.average else nullcontext()

    def _fit(self, step: int) -> None:
        """Fit what is fitted before it is trained: the linear path first, the codebook when the quantizer begins."""
        with_linear_path = self.tokenizer.linear is not None and self.origin is None
        linear = step == 0 and with_linear_path
        codebook = step == self.schedule.fitting_step and (step > 0 or with_linear_path)
        if linear:
            self._fit_linear_path(step)
        if codebook:
            self._fit_codebook(step)
        if self.state.average and (linear or codebook):
            self.state.average.restart()

    def _fit_linear_path(self, step: int) -> None:
        """Fit the linear code to the images of the coming batches, the same in every process."""
        self.tokenizer.linear.fit(self.processes.gather(torch.cat(list(self._coming(step)))))

    def _fit_codebook(self, step: int) -> None:
        """Fit the codebook to the features of the coming batches, the same in every process."""
        with torch.no_grad():
            maps = [self.tokenizer.features(images) for images in self._coming(step)]  # (B, d, h, w) each
        features = torch.cat([part.movedim(1, -1).reshape(-1, part.shape[1]).float() for part in maps])
        torch.manual_seed(self.seed)
        self.tokenizer.quantizer.fit(self.processes.gather(features))

    def _coming(self, step: int) -> Iterator[Tensor]:
        """The images of this process's coming batches, (B, 3, S, S) in [-1, 1]."""
        for batch in batches(self.images, self._order(step, min(step + FIT_BATCHES, self.config.steps)), 0):
            for images in batch.images.split(self.config.batch_size):
                yield to_network_range(images.to(self.processes.device))

    def _order(self, first: int, last: int) -> Order:
        world, size = self.processes, self.config.batch_size * self.config.accumulate
        return Order(len(self.images), size, world.process_index, world.num_processes, self.seed, first, last)

"""images ──► a trained tokenizer: the loop.

One forward pass a step serves both networks; the discriminator sees the painted images without gradient. Sources: V2L Tokenizer,
arXiv 2403.07874, section 4.1; VQGAN, arXiv 2012.09841, section 3.1.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from v2l.config import config_to_dict
from v2l.errors import V2LError
from v2l.processes import Accelerator
from v2l.tokenizer.encoder import to_network_range
from v2l.tokenizer.model import Reconstruction, V2LTokenizer
from v2l.training.data import Batch, Order, TrainingImages, batches
from v2l.training.discriminator import build_discriminator
from v2l.training.interrupt import StopRequest
from v2l.training.losses import adaptive_ratio, discriminator_term, generator_term, reconstruction_terms, weighted_sum
from v2l.training.perceptual import PerceptualDistance
from v2l.training.schedule import Schedule
from v2l.training.state import TrainingState, saved_states

FIT_BATCHES = 24  # whose features the projection is fitted to
MOST_BAD_STEPS = 5  # in a row
ADAM_EPSILON = 1e-7

Terms = dict[str, float]
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
    """

    def __init__(
        self,
        model: V2LTokenizer,
        images: TrainingImages,
        perceptual: PerceptualDistance | None,
        processes: Accelerator,
        run: Path,
        seed: int = 0,
    ) -> None:
        self.tokenizer, self.images, self.perceptual, self.processes, self.run, self.seed = model, images, perceptual, processes, run, seed
        self.config = model.config.training
        self.schedule = Schedule(self.config)
        self.bad_steps = 0
        networks = {"model": model} | ({"discriminator": build_discriminator()} if self.config.adversarial_weight else {})
        optimizers = {name: self._adam(network) for name, network in networks.items()}
        self.state = TrainingState(networks, optimizers)
        self.prepared = {name: self._prepare(network) for name, network in networks.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """What must be the same when a run goes on."""
        settings = config_to_dict(self.tokenizer.config)
        return {
            "model": settings["model"],
            "training": settings["training"],
            "seed": self.seed,
            "processes": self.processes.num_processes,
            "images": self.images.fingerprint,
            "codebook": [
                self.tokenizer.local_codebook.source.llm_fingerprint,
                len(self.tokenizer.local_codebook),
                len(self.tokenizer.global_codebook),
            ],
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
        self._trim_log(first)
        with StopRequest() as stop:
            for done, batch in enumerate(self._batches(first), start=first + 1):
                terms = self.step(done - 1, batch)
                if self.processes.is_main_process and (done % self.config.log_every == 0 or done == self.config.steps):
                    self._log(done, terms)
                on_step(done, terms)
                if done % self.config.save_every == 0 or done == self.config.steps or stop.requested:
                    self.save(done)
                if stop.requested:
                    break
        return done

    def step(self, step: int, batch: Batch) -> Terms:
        """One step of both optimizers; returns the loss terms by name."""
        torch.manual_seed(self.seed * 1_000_003 + step * self.processes.num_processes + self.processes.process_index)
        if step == self.schedule.fitting_step and step > 0:
            self.fit_projection(step)
        for optimizer in self.state.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.schedule.learning_rate(step)
        images = to_network_range(batch.images.to(self.processes.device))
        noise = None if self.schedule.quantizes(step) else self.config.feature_noise
        with self.processes.autocast():
            painted = self.prepared["model"](images, batch.global_ids.to(self.processes.device), noise)
        terms = self._generator_step(step, images, painted)
        if self.schedule.discriminates(step):
            terms["discriminator"] = self._discriminator_step(images, painted.images.detach())
        return {name: float(term) for name, term in terms.items()}

    @torch.no_grad()
    def fit_projection(self, step: int) -> None:
        """Fit the codebook's projection to the features of the coming batches, the same in every process."""
        order = self._order(step, min(step + FIT_BATCHES, self.config.steps))
        features = []
        for batch in batches(self.images, order, 0):
            maps = self.tokenizer.features(to_network_range(batch.images.to(self.processes.device)))  # (B, d, h, w)
            features.append(maps.movedim(1, -1).reshape(-1, maps.shape[1]).float())
        self.tokenizer.quantizer.fit_projection(self.processes.gather(torch.cat(features)))

    def save(self, step: int) -> None:
        """Write the state and the tokenizer as it is now."""
        self.processes.wait_for_everyone()
        if self.processes.is_main_process:
            self.state.save(self.run, step, self.facts, self.config.keep_checkpoints)
            self.tokenizer.facts = {
                "steps": step,
                "images": len(self.images),
                "image_fingerprint": self.images.fingerprint,
                "seed": self.seed,
            }
            self.tokenizer.save_pretrained(self.run / "model")
        self.processes.wait_for_everyone()

    def _generator_step(self, step: int, images: Tensor, painted: Reconstruction) -> dict[str, Tensor]:
        terms = reconstruction_terms(images, painted.images, self.perceptual)
        loss = weighted_sum(terms, self.config)
        if self.schedule.deceives(step):
            discriminator = self.prepared["discriminator"].requires_grad_(False)
            terms["adversarial"] = generator_term(discriminator(painted.images))
            terms["ratio"] = adaptive_ratio(loss, terms["adversarial"], self.tokenizer.decoder.last_weight)
            loss = loss + self.config.adversarial_weight * terms["ratio"] * terms["adversarial"]
        if painted.quantized is not None:
            terms["quantizer"] = painted.quantized.loss
            loss = loss + painted.quantized.loss
        terms["loss"] = loss
        self._update("model", loss)
        return {name: term.detach() for name, term in terms.items()}

    def _discriminator_step(self, images: Tensor, painted: Tensor) -> Tensor:
        discriminator = self.prepared["discriminator"].requires_grad_(True)
        with self.processes.autocast():
            loss = discriminator_term(discriminator(images), discriminator(painted))
        self._update("discriminator", loss)
        return loss.detach()

    def _update(self, name: str, loss: Tensor) -> None:
        """One step of one optimizer, unless the loss or a gradient is not finite: then the batch is skipped, and counted."""
        optimizer = self.state.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        self.processes.backward(loss)
        limit = self.config.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.prepared[name].parameters(), limit)
        if torch.isfinite(norm) and torch.isfinite(loss):
            optimizer.step()
            self.bad_steps = 0
            return
        self.bad_steps += 1
        if self.bad_steps == MOST_BAD_STEPS:
            raise V2LError(
                f"the loss was not finite for {MOST_BAD_STEPS} steps in a row",
                "a finite loss",
                "a lower training.learning_rate, from the last checkpoint",
            )

    def _adam(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self.config.learning_rate, betas=self.config.betas, eps=ADAM_EPSILON)

    def _prepare(self, network: nn.Module) -> nn.Module:
        network.to(self.processes.device).train()
        prepared = self.processes.prepare_model(network)
        return torch.compile(prepared) if self.config.compile else prepared

    def _batches(self, first: int) -> Iterator[Batch]:
        return batches(self.images, self._order(first, self.config.steps), self.config.workers)

    def _order(self, first: int, last: int) -> Order:
        world = self.processes
        return Order(len(self.images), self.config.batch_size, world.process_index, world.num_processes, self.seed, first, last)

    @property
    def _log_path(self) -> Path:
        return self.run / "log.csv"

    def _log(self, step: int, terms: Terms) -> None:
        with self._log_path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows(
                [step, name, f"{value:.6g}"] for name, value in {**terms, "learning_rate": self.schedule.learning_rate(step - 1)}.items()
            )

    def _trim_log(self, first: int) -> None:
        """Keep the log's lines up to the step that a run goes on from; steps done twice stand there once."""
        if not self.processes.is_main_process:
            return
        self.run.mkdir(parents=True, exist_ok=True)
        lines = self._log_path.read_text(encoding="utf-8").splitlines()[1:] if self._log_path.exists() else []
        kept = [line for line in lines if int(line.split(",")[0]) <= first]
        self._log_path.write_text("\n".join(["step,term,value", *kept]) + "\n", encoding="utf-8")

"""a tokenizer of placed words in training ──► its schedule, its optimizer, and what is written about it.

Shared by the recipes of SeTok, LaVIT and Groma, which train one network on frozen patch features.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from v2l.processes import Accelerator
from v2l.tokenizers.member_training import MemberTraining
from v2l.tokenizers.placed_words import PlacedWordsTokenizer
from v2l.training.optimizer_step import OptimizerStep
from v2l.training.recipe import PartT, Recipe, Terms
from v2l.training.recipes.patch_run import run_facts
from v2l.training.schedule import WarmupCosine

HELD_OUT = 8  # every so many examples only validate


class PatchRecipe(Recipe[PartT]):
    """What these recipes share.

    Args:
        tokenizer: the tokenizer to train.
        config: its preset: a dataclass of sections, of which `training` is one.
        processes: the processes that train together.
        seed: of everything that is drawn at random.
    """

    result = "model"
    tokenizer: PlacedWordsTokenizer
    config: Any

    def __init__(
        self, tokenizer: PlacedWordsTokenizer, config: Any, processes: Accelerator, seed: int
    ) -> None:
        training: MemberTraining = config.training
        self.tokenizer, self.config, self.processes, self.seed = tokenizer, config, processes, seed
        warmup = round(training.warmup_fraction * training.steps)
        self.schedule = WarmupCosine(training.learning_rate, training.steps, warmup)
        self.examples_per_step = training.batch_size * processes.num_processes

    @property
    @abstractmethod
    def description(self) -> str:
        """What is trained on: how many images, and their fingerprint."""

    @abstractmethod
    def validate(self, step: int) -> Terms:
        """Figures of what is not trained on."""

    def learning_rate(self, step: int) -> float:
        return self.schedule.at(step)

    def optimized(self, network: nn.Module) -> OptimizerStep:
        """A network on its device, with its optimizer."""
        training: MemberTraining = self.config.training
        network.to(self.processes.device).train()
        optimizer = AdamW(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
        return OptimizerStep(network, optimizer, self.processes, clip_norm=1.0)

    def metadata(self) -> dict[str, Any]:
        sections = asdict(self.config)
        del sections["training"]
        return {
            **{f"{name}.{key}": value for name, some in sections.items() for key, value in some.items()},
            **run_facts(self.config.training, self.seed, self.processes),
            "images": self.description,
            "words": self.tokenizer.namer.codebook.source.encoder_fingerprint,
            "codebook": self.tokenizer.namer.codebook.fingerprint,
        }

    def metadata_defaults(self) -> dict[str, Any]:
        """An older state does not name its codebook."""
        return {"codebook": self.tokenizer.namer.codebook.fingerprint}

    def facts(self) -> dict[str, Any]:
        """What the checkpoint says of its training beside steps, images and seed."""
        return {}

    def save_result(self, folder: Path, step: int) -> None:
        self.tokenizer.facts = {
            "steps": step,
            "of": self.config.training.steps,
            "images": self.description,
            "seed": self.seed,
            **self.facts(),
            "validation": self.validate(step),
        }
        self.tokenizer.save_pretrained(folder, half=True)


def held_out(count: int) -> Tensor:
    """Which of `count` examples only validate, (count,) bool."""
    return torch.arange(count) % HELD_OUT == HELD_OUT - 1

"""places + settings ──► a finished run of an adapter, from its last state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from v2l.captions import CaptionedImage
from v2l.errors import V2LError
from v2l.processes import Accelerator, start_processes
from v2l.progress import Progress, silent
from v2l.sources import ImageFile
from v2l.tokenizers.adapters.model import AdapterSettings, check_tokens
from v2l.tokenizers.adapters.sliced import SlicedTokenizer
from v2l.tokenizers.registry import member_named
from v2l.training.loop import OnStep, TrainingLoop
from v2l.training.plan import Plan, plan_run
from v2l.training.recipes.adapter import AdapterRecipe, AdapterRun
from v2l.training.recipes.adapter_data import CaptionedFeatures, Examples, read_features, split_examples
from v2l.training.recipes.adapter_fits import fit_maps
from v2l.training.recipes.adapter_models import AdapterModels
from v2l.training.recipes.adapter_words import embedding_scale, mark_embeddings, table_rows, word_table
from v2l.training.recipes.part_data import read_parts

KINDS = ("resampler", "projector", "sea", "clusters", "uhd")
ALIGN = 0.5  # lambda of a sea adapter by default


@dataclass(frozen=True)
class AdapterResult:
    """How a run ended.

    Attributes:
        steps: how many are done; fewer than the settings' if a signal requested a stop.
        unreadable: image files that were left out.
    """

    steps: int
    unreadable: tuple[ImageFile, ...]


@dataclass(frozen=True)
class AdapterTraining:
    """One adapter and what it is trained on.

    Attributes:
        kind: one of `KINDS`.
        tokens: soft tokens an image.
        images: with captions or classes.
        settings: the run.
        seed: of everything that is drawn.
    """

    kind: str
    tokens: int
    images: Sequence[CaptionedImage]
    settings: AdapterRun
    seed: int = 0

    def __post_init__(self) -> None:
        check_kind(self.kind)
        check_tokens(self.tokens)
        if self.settings.align and self.kind != "sea":
            raise V2LError(
                f"got an alignment weight for the adapter {self.kind!r}",
                "sea, whose soft tokens are patches",
                "--adapter sea",
            )

    def train(
        self,
        models: AdapterModels,
        on_step: OnStep,
        progress: Progress = silent,
        processes: Accelerator | None = None,
    ) -> AdapterResult:
        """Train, or go on with a run that was stopped; the adapter is written to run/model.

        Raises:
            V2LError: no image is readable, the run in the folder has other settings, an example is longer
                than the LLM's context, the loss is not finite, or the disk is full.
        """
        recipe = self.recipe(models, progress, processes)
        loop = TrainingLoop(recipe, self.settings.loop)
        return AdapterResult(loop.train(loop.resume(), on_step), recipe.examples.data.unreadable)

    def plan(self, models: AdapterModels, progress: Progress = silent) -> Plan:
        """Measure a few steps; nothing is written but the patch features in the user's cache."""
        return plan_run(self.recipe(models, progress, None), self.settings.steps)

    def recipe(
        self, models: AdapterModels, progress: Progress, processes: Accelerator | None
    ) -> AdapterRecipe:
        """Encode the images, choose the words of the table, and build the adapter with its fits."""
        read = read_parts if self.kind == "uhd" else read_features
        data: CaptionedFeatures = read(models.encoder, self.images, progress)
        rows = table_rows(models, data)
        torch.manual_seed(self.seed)
        settings = adapter_settings(self.tokens, models, data.features.shape[-1])
        tokenizer = member_named(self.kind).load_class()(settings, word_table(models, rows))
        tokenizer.use_joint_encoder(models.encoder)
        fit_maps(tokenizer, models, split_examples(data, self.seed)[0])
        if isinstance(tokenizer, SlicedTokenizer):
            tokenizer.learn_marks(mark_embeddings(models.llm))
        vectors = models.codebook.embeddings[rows].float() if self.settings.align else None
        examples = Examples(data, tuple(range(len(data.images))), self.seed)
        world = processes or start_processes(str(models.llm.device), fixed_buffers=True)
        book = models.codebook.fingerprint
        return AdapterRecipe(tokenizer, models.llm, examples, self.settings, world, book, vectors)


def check_kind(kind: str) -> str:
    """The kind of an adapter itself.

    Raises:
        V2LError: no adapter has this name.
    """
    if kind not in KINDS:
        raise V2LError(f"got the adapter {kind!r}", ", ".join(KINDS), "--adapter resampler")
    return kind


def adapter_settings(tokens: int, models: AdapterModels, channels: int) -> AdapterSettings:
    """The sizes of an adapter between the encoder, whose features have C channels, and the LLM."""
    encoder, llm = models.encoder, models.llm
    return AdapterSettings(
        encoder.dim,
        channels,
        llm.embedding_width,
        tokens,
        len(models.codebook),
        embedding_scale(llm),
        encoder.name,
        encoder.fingerprint,
        llm.name,
        llm.fingerprint,
    )

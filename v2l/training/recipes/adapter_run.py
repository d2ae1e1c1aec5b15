"""places + settings ──► a finished run of an adapter, from its last state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor

from v2l.captions import CaptionedImage
from v2l.codebook.codebook import Codebook
from v2l.encoders import JointEncoder, load_encoder
from v2l.errors import V2LError
from v2l.llm import FrozenLLM, load_llm
from v2l.processes import Accelerator, start_processes
from v2l.progress import Progress, silent
from v2l.sources import ImageFile
from v2l.tokenizers.adapters.model import AdapterSettings, ProjectorTokenizer, check_tokens
from v2l.tokenizers.adapters.projector import pool_fields
from v2l.tokenizers.adapters.ridge import RidgeFit
from v2l.tokenizers.adapters.word_table import WordTable
from v2l.tokenizers.registry import member_named
from v2l.training.loop import OnStep, TrainingLoop
from v2l.training.plan import Plan, plan_run
from v2l.training.recipes.adapter import NEAREST, AdapterRecipe, AdapterRun
from v2l.training.recipes.adapter_data import (
    CaptionedFeatures,
    Examples,
    read_features,
    split_examples,
)

KINDS = ("resampler", "projector", "sea")
TABLE_WORDS = 2000  # words of an adapter's table at most
ALIGN = 0.5  # lambda of a sea adapter by default
WORD_RIDGE = 1e-3  # keeps the fit to words finite with few words
FEATURE_RIDGE = 1.0  # of the fit to captions: chosen on images of caltech101@train that it had not seen
FIT_BATCH = 256  # images at a time


@dataclass(frozen=True)
class AdapterModels:
    """What an adapter stands between.

    Attributes:
        encoder: the frozen joint encoder.
        llm: the frozen LLM.
        codebook: words in the encoder's space; SEA and the readable words come from it.
    """

    encoder: JointEncoder
    llm: FrozenLLM
    codebook: Codebook

    @classmethod
    def load(
        cls, codebook: Codebook, llm: str | None = None, device: str = "auto", dtype: str = "auto"
    ) -> AdapterModels:
        """Load the encoder and, by default, the LLM that a codebook belongs to.

        Raises:
            V2LError: one of them is not on this machine, or the encoder is not the codebook's.
        """
        encoder = load_encoder(codebook.source.encoder, device)
        codebook.require_encoder(encoder)
        return cls(encoder, load_llm(llm or codebook.source.llm, device, dtype), codebook)


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
        kind: resampler, projector or sea.
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
        """Encode the images, choose the words of the table, and build the adapter with random weights."""
        data = read_features(models.encoder, self.images, progress)
        rows = table_rows(models, data)
        torch.manual_seed(self.seed)
        settings = adapter_settings(self.tokens, models, data.features.shape[-1])
        tokenizer = member_named(self.kind).load_class()(settings, word_table(models, rows))
        tokenizer.use_joint_encoder(models.encoder)
        if isinstance(tokenizer, ProjectorTokenizer):
            fit_to_words(tokenizer, models)
            fit_to_captions(tokenizer, models, split_examples(data, self.seed)[0])
        vectors = models.codebook.embeddings[rows].float() if self.settings.align else None
        examples = Examples(data, tuple(range(len(data.images))), self.seed)
        world = processes or start_processes(str(models.llm.device))
        return AdapterRecipe(tokenizer, models.llm, examples, self.settings, world, vectors)


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
        embedding_scale(llm),
        encoder.name,
        encoder.fingerprint,
        llm.name,
        llm.fingerprint,
    )


def fit_to_words(adapter: ProjectorTokenizer, models: AdapterModels) -> None:
    """Fit the map from the joint space to all words of the codebook."""
    book = models.codebook
    _, targets = word_embeddings(models.llm, book.words)
    fit = RidgeFit(adapter.adapter.dim, adapter.adapter.width)
    fit.add(book.embeddings, targets / adapter.adapter.scale)
    fit.solve(adapter.network.from_joint, WORD_RIDGE)


@torch.no_grad()
def fit_to_captions(adapter: ProjectorTokenizer, models: AdapterModels, examples: Examples) -> None:
    """Fit the map from features to what the words of an image's captions have beyond its joint space.

    Every field of an image has the same target: the mean input embedding of its captions, or of the name of
    its class.
    """
    data, settings = examples.data, adapter.adapter
    texts = [" ".join(image.captions) or image.label for image in data.images]
    distinct = sorted(set(texts))
    rows = {text: row for row, text in enumerate(distinct)}
    targets = word_embeddings(models.llm, distinct)[1] / settings.scale  # (T, width)
    fit = RidgeFit(settings.channels, settings.width)
    for places in torch.tensor(examples.places).split(FIT_BATCH):
        fields = pool_fields(data.features[places].float(), isqrt(settings.tokens))  # (b, N, C)
        known = adapter.network.from_joint(adapter.joint(fields.to(adapter.device))).cpu()  # (b, N, width)
        wanted = targets[[rows[texts[place]] for place in places.tolist()]][:, None]
        fit.add(fields.flatten(0, 1), (wanted - known).flatten(0, 1))
    fit.solve(adapter.network.from_features, FEATURE_RIDGE)


def word_embeddings(llm: FrozenLLM, words: Sequence[str]) -> tuple[list[tuple[int, ...]], Tensor]:
    """The token ids of W words, and the mean of the LLM's input embeddings of each, (W, width) float32."""
    ids = [tuple(llm.encode_pieces(f" {word}")) for word in words]
    vectors = llm.input_embeddings([token for some in ids for token in some]).float().cpu()
    owners = torch.repeat_interleave(torch.tensor([len(some) for some in ids]))
    sums = torch.zeros(len(ids), vectors.shape[1]).index_add(0, owners, vectors)
    return ids, sums / owners.bincount(minlength=len(ids))[:, None]


def embedding_scale(llm: FrozenLLM) -> float:
    """The root mean square of the LLM's input embeddings, by the first thousand ids."""
    ids = range(min(1000, llm.vocabulary_size))
    return float(llm.input_embeddings(list(ids)).float().square().mean().sqrt())


def table_rows(models: AdapterModels, data: CaptionedFeatures) -> list[int]:
    """The words of an adapter's table: those that are nearest to training images, most frequent first.

    An image votes for the `NEAREST` words of the mean of its patches.
    """
    means = torch.stack([one.float().flatten(0, 1).mean(dim=0) for one in data.features])  # (n, C)
    vectors, book = models.encoder.to_joint_space(means.to(models.encoder.device)).cpu(), models.codebook
    votes = book.nearest_varied(vectors, min(NEAREST, len(set(book.families))))[1]
    rows, counts = votes.flatten().unique(return_counts=True)
    best: list[int] = rows[counts.argsort(descending=True, stable=True)][:TABLE_WORDS].tolist()
    return best


def word_table(models: AdapterModels, rows: Sequence[int]) -> WordTable:
    """Rows of the codebook with the LLM's input embedding of each: the mean over the word's tokens."""
    words = tuple(models.codebook.entries[row].word for row in rows)
    ids, vectors = word_embeddings(models.llm, words)
    return WordTable(words, tuple(ids), vectors)

"""sets of images + frozen LLM ──► SAM's adapter, whose soft tokens make the LLM say what a set shows.

The loss is L = L_gen + lambda · L_a: the LLM's mean negative log-likelihood of the set's sentence and, as an
option, the contrastive loss of the mean soft token and the answer's input embedding (SEA's loss, for sets).
Before the first step, soft tokens are those of a fitted adapter (`adapter_fits.py`).
Source: SAM, arXiv 2408.12867, section 3; the paper leaves the loss open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from v2l.captions import CaptionedImage
from v2l.errors import V2LError
from v2l.image_sets import ImageSet
from v2l.llm import FrozenLLM
from v2l.processes import Accelerator, start_processes
from v2l.progress import Progress, silent
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt
from v2l.prompts.sets import set_prompt, set_sentence
from v2l.prompts.trained import OLDER_PROMPTS, TRAINED_PROMPTS
from v2l.tokenizers.adapters.alignment import alignment_loss
from v2l.tokenizers.adapters.guidance import Guidance
from v2l.tokenizers.adapters.model import check_tokens
from v2l.tokenizers.adapters.sets import SetTokenizer
from v2l.training.data import epoch_order
from v2l.training.loop import OnStep, TrainingLoop
from v2l.training.optimizer_step import RATE_SHARE_KEY, OptimizerStep
from v2l.training.plan import Plan, plan_run
from v2l.training.recipe import Loss, Recipe, Terms
from v2l.training.recipes.adapter import AdapterRun, check_finite
from v2l.training.recipes.adapter_data import CaptionedFeatures, Examples, read_features
from v2l.training.recipes.adapter_fits import fit_maps
from v2l.training.recipes.adapter_models import AdapterModels
from v2l.training.recipes.adapter_run import adapter_settings
from v2l.training.recipes.adapter_words import table_rows, word_embeddings, word_table

ADAPTER = "adapter"
FORMER_SHARE = 0.1  # of the learning rate, for Q-former and W-former, which are added to the fitted maps
WATCHED, WATCHED_SHARE = 48, 10  # sets that only watch the training: so many at most, one of so many


@dataclass(frozen=True)
class SetExample:
    """One set.

    Attributes:
        features: (n, h, w, C) float32 of its images.
        images: the set itself.
    """

    features: Tensor
    images: ImageSet

    @property
    def sentence(self) -> str:
        """What the LLM learns to say."""
        return set_sentence(self.images.task, self.images.labels, self.images.change)


@dataclass(frozen=True)
class SetData:
    """Sets with the features of their images.

    Attributes:
        sets: all sets.
        data: features of all their images.
    """

    sets: tuple[ImageSet, ...]
    data: CaptionedFeatures

    def example(self, place: int) -> SetExample:
        """One set by its number."""
        return SetExample(self.data.features[list(self._rows[place])].float(), self.sets[place])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """All answers, sorted."""
        return tuple(sorted({label for one in self.sets for label in one.labels}))

    def images_of(self, places: Sequence[int]) -> tuple[int, ...]:
        """The numbers of the images of some sets."""
        return tuple(row for place in places for row in self._rows[place])

    @cached_property
    def _rows(self) -> list[tuple[int, ...]]:
        ends = torch.tensor([len(one.images) for one in self.sets]).cumsum(0).tolist()
        return [tuple(range(end - len(one.images), end)) for end, one in zip(ends, self.sets, strict=True)]


class SetRecipe(Recipe[list[SetExample]]):
    """SAM's adapter in training.

    Args:
        tokenizer: the adapter.
        llm: the frozen LLM that it writes for.
        data: sets, of which a few only watch the training.
        settings: the run.
        processes: the processes that train together.
        codebook: fingerprint of the codebook that the words come from.
        seed: of the order of the sets.
    """

    name, result = "sam", "model"

    def __init__(
        self,
        tokenizer: SetTokenizer,
        llm: FrozenLLM,
        data: SetData,
        settings: AdapterRun,
        processes: Accelerator,
        codebook: str,
        seed: int = 0,
    ) -> None:
        self.tokenizer, self.llm, self.settings = tokenizer.to(processes.device).train(), llm, settings
        self.data, self.processes, self.seed, self.schedule = data, processes, seed, settings.schedule
        self.codebook = codebook
        self.trained_on, self.watched = split_sets(len(data.sets), seed)
        self.answers = word_embeddings(llm, data.labels)[1].to(processes.device)  # (L, width)
        optimizer = AdamW(parameter_groups(tokenizer), lr=settings.rate, weight_decay=0.01)
        self.networks = {ADAPTER: OptimizerStep(tokenizer, optimizer, processes, 1.0, trained_only=True)}
        self.examples_per_step = settings.batch_size * processes.num_processes

    def learning_rate(self, step: int) -> float:
        return self.schedule.at(step)

    def batches(self, first: int, last: int) -> Iterator[Sequence[list[SetExample]]]:
        size, count = self.settings.batch_size, len(self.trained_on)
        for step in range(first, last):
            start = (step * self.processes.num_processes + self.processes.process_index) * size
            part = []
            for number in range(start, start + size):
                epoch, offset = divmod(number, count)
                place = self.trained_on[epoch_order(count, self.seed, epoch)[offset]]
                part.append(self.data.example(place))
            yield [part]

    def loss(self, step: int, part: list[SetExample], network: str) -> Loss:
        soft = [self.networks[network].prepared(one.features, True) for one in part]  # (n, N, width) each
        generation = set_loss(self.llm, soft, part)
        terms, loss = {"generation": generation.detach()}, generation
        if self.settings.align:
            alignment = self.alignment(soft, part)
            loss = generation + self.settings.align * alignment
            terms["alignment"] = alignment.detach()
        return Loss(loss, {"loss": loss.detach(), **terms})

    def alignment(self, soft: Sequence[Tensor], part: Sequence[SetExample]) -> Tensor:
        """The contrastive loss of what each answer is about: one mean soft token for each label."""
        rows = {label: row for row, label in enumerate(self.data.labels)}
        means = [
            mean for one, example in zip(soft, part, strict=True) for mean in answer_tokens(one, example)
        ]
        drawn = torch.tensor([rows[label] for example in part for label in example.images.labels])
        return alignment_loss(torch.stack(means), drawn.to(self.answers.device), self.answers)

    @torch.no_grad()
    def validate(self, step: int) -> Terms:
        """The generation loss on sets that are not trained on."""
        examples = [self.data.example(place) for place in self.watched]
        size = self.settings.batch_size
        parts = [examples[start : start + size] for start in range(0, len(examples), size)]
        losses = [
            set_loss(self.llm, [self.tokenizer(one.features, together=True) for one in part], part)
            * len(part)
            for part in parts
        ]
        return {"generation": float(sum(losses)) / len(examples)}

    def metadata(self) -> dict[str, Any]:
        run = asdict(self.settings)
        own = {name: run[name] for name in ("rate", "steps", "warmup", "batch_size", "align")}
        return {
            **own,
            "adapter": asdict(self.tokenizer.adapter),
            "guidance": asdict(self.tokenizer.guidance),
            "seed": self.seed,
            "processes": self.processes.num_processes,
            "sets": f"{len(self.data.sets):,} with fingerprint {self.data.data.fingerprint}",
            "codebook": self.codebook,
            "prompts": TRAINED_PROMPTS,
            "former_share": FORMER_SHARE,
        }

    def metadata_defaults(self) -> dict[str, Any]:
        """An older state does not name its codebook, and its prompts had no examples."""
        return {"codebook": self.codebook, "prompts": OLDER_PROMPTS, "former_share": 1.0}

    def save_result(self, folder: Path, step: int) -> None:
        self.tokenizer.facts = {
            "steps": step,
            "sets": len(self.data.sets),
            "image_fingerprint": self.data.data.fingerprint,
            "classes": list(self.data.labels),
            "align": self.settings.align,
            "seed": self.seed,
            "prompts": TRAINED_PROMPTS,
        }
        self.tokenizer.save_pretrained(folder, half=True)


def parameter_groups(tokenizer: SetTokenizer) -> list[dict[str, Any]]:
    """The fitted maps at the full learning rate, and the network of SAM at a part of it."""
    network = list(tokenizer.network.former.parameters())
    inside = {id(parameter) for parameter in network}
    fitted = [parameter for parameter in tokenizer.parameters() if id(parameter) not in inside]
    return [{"params": fitted}, {"params": network, RATE_SHARE_KEY: FORMER_SHARE}]


def answer_tokens(soft: Tensor, example: SetExample) -> list[Tensor]:
    """Soft tokens (n, N, width) of a set ──► the mean token (width,) of what each of its labels is about.

    The images of a story have a label each. An object is in the last image if it was added, else in the
    first. A shared class is in all images.
    """
    images = soft.mean(dim=1)  # (n, width)
    if example.images.task == "story":
        return list(images)
    if example.images.task == "difference":
        return [images[-1] if example.images.change == "added" else images[0]]
    return [images.mean(dim=0)]


def set_loss(llm: FrozenLLM, soft: Sequence[Tensor], part: Sequence[SetExample]) -> Tensor:
    """L_gen: the mean of -log p over all tokens of the sentences behind the soft tokens of their sets."""
    check_finite(soft)
    prompts = [
        set_prompt(example.images.task, [Embeddings(image) for image in one])
        for one, example in zip(soft, part, strict=True)
    ]
    return llm.loss(prompts, [Prompt((f" {example.sentence}",)) for example in part])


@dataclass(frozen=True)
class SetTraining:
    """SAM's adapter and what it is trained on.

    Attributes:
        tokens: soft tokens an image.
        sets: what `v2l make-sets` wrote.
        settings: the run.
        guidance: how the images of a set guide each other.
        seed: of everything that is drawn.
    """

    tokens: int
    sets: Sequence[ImageSet]
    settings: AdapterRun
    guidance: Guidance = field(default_factory=Guidance)
    seed: int = 0

    def __post_init__(self) -> None:
        check_tokens(self.tokens)
        if not self.sets:
            raise V2LError("got no sets", "a folder that v2l make-sets wrote", "v2l make-sets FOLDER -o DIR")

    def train(self, models: AdapterModels, on_step: OnStep, progress: Progress = silent) -> int:
        """Train, or go on with a run that was stopped; returns how many steps are done.

        Raises:
            V2LError: an image is not readable, the run in the folder has other settings, a set is longer than
                the LLM's context, the loss is not finite, or the disk is full.
        """
        loop = TrainingLoop(self.recipe(models, progress), self.settings.loop)
        return loop.train(loop.resume(), on_step)

    def plan(self, models: AdapterModels, progress: Progress = silent) -> Plan:
        """Measure a few steps; nothing is written but the patch features in the user's cache."""
        return plan_run(self.recipe(models, progress), self.settings.steps)

    def recipe(self, models: AdapterModels, progress: Progress = silent) -> SetRecipe:
        """Encode the images, and build the adapter with its fits."""
        data = read_features(models.encoder, captioned_images(self.sets), progress)
        if data.unreadable:
            raise V2LError(f"{data.unreadable[0]} is no readable image", "sets as make-sets wrote them")
        torch.manual_seed(self.seed)
        table = word_table(models, table_rows(models, data))
        settings = adapter_settings(self.tokens, models, data.features.shape[-1])
        tokenizer = SetTokenizer(settings, table, self.guidance)
        tokenizer.use_joint_encoder(models.encoder)
        sets = SetData(tuple(self.sets), data)
        trained_on = sets.images_of(split_sets(len(sets.sets), self.seed)[0])
        fit_maps(tokenizer, models, Examples(data, trained_on, self.seed))
        world = start_processes(str(models.llm.device), fixed_buffers=True)
        book = models.codebook.fingerprint
        return SetRecipe(tokenizer, models.llm, sets, self.settings, world, book, self.seed)


def captioned_images(sets: Sequence[ImageSet]) -> list[CaptionedImage]:
    """All images of some sets, each with the names of what is in it, or else with the answer of its set."""
    return [
        CaptionedImage(file, one.shown[place] if one.shown else one.labels)
        for one in sets
        for place, file in enumerate(one.images)
    ]


def split_sets(count: int, seed: int) -> tuple[list[int], list[int]]:
    """The numbers of the sets to train on, and of those that only watch; too few sets are both."""
    watching = min(WATCHED, count // WATCHED_SHARE)
    order = Random(f"{seed}/watched").sample(range(count), count)
    return sorted(order[watching:]), order[:watching] or order

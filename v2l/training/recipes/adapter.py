"""captioned images + frozen LLM ──► an adapter whose soft tokens make the LLM write the captions.

The loss is L = L_gen + lambda · L_a: the LLM's mean negative log-likelihood of a sentence behind the soft
tokens and, for SEA, the contrastive loss of soft tokens and words. Gradients flow through the LLM; its
weights stay as they are. Sources: Qwen-VL, arXiv 2308.12966, section 3.1; SEA, arXiv 2408.11813, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from v2l.drawings import image_grid
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.llm import FrozenLLM, GenerationConfig
from v2l.processes import Accelerator
from v2l.prompts.caption import MAX_NEW_TOKENS, STOP
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt
from v2l.prompts.soft import NO_REPEAT, soft_prompt
from v2l.prompts.trained import OLDER_PROMPTS, TRAINED_PROMPTS
from v2l.tokenizers.adapters.alignment import alignment_loss, draw_words
from v2l.tokenizers.adapters.fitted import pool_fields
from v2l.tokenizers.adapters.model import SoftTokenizer
from v2l.training.loop import LoopSettings
from v2l.training.optimizer_step import OptimizerStep
from v2l.training.recipe import Loss, Recipe, Terms
from v2l.training.recipes.adapter_data import Example, Examples, ImageFeatures, split_examples
from v2l.training.schedule import WarmupCosine

ADAPTER = "adapter"
SHOWN = 8  # images of a page
FITTED = "fitted maps"  # what an adapter begins with
NEAREST = 5  # words of a patch that SEA draws from


@dataclass(frozen=True)
class AdapterRun:
    """A training run of an adapter.

    Attributes:
        run: its folder: states, log, pictures, and the adapter in model/.
        rate: the highest learning rate.
        steps: optimizer steps.
        warmup: the first steps, in which the rate rises.
        batch_size: sentences in a step of one process.
        align: lambda, the weight of SEA's alignment loss; 0 is off.
        save_every: steps between two saved states.
        log_every: steps between two lines of the log.
        watch_every: steps between two pages of captions, with the loss on images that are not trained on.
    """

    run: Path
    rate: float = 1e-3
    steps: int = 2000
    warmup: int = 50
    batch_size: int = 16
    align: float = 0.0
    save_every: int = 100
    log_every: int = 10
    watch_every: int = 200

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.align < 0:
            raise V2LError(
                f"got rate {self.rate} and alignment weight {self.align}",
                "a rate above 0, a weight of 0 and more",
            )
        if min(self.steps, self.batch_size, self.save_every, self.log_every) < 1:
            raise V2LError(f"got {self.steps} steps of {self.batch_size} sentences", "1 and more of each")

    @property
    def schedule(self) -> WarmupCosine:
        """The learning rate by the step."""
        return WarmupCosine(self.rate, self.steps, min(self.warmup, self.steps))

    @property
    def loop(self) -> LoopSettings:
        """The settings of the loop."""
        return LoopSettings(
            self.run,
            self.steps,
            self.save_every,
            log_every=self.log_every,
            picture_every=self.watch_every,
            validate_every=self.watch_every,
        )


class AdapterRecipe(Recipe[list[Example]]):
    """An adapter in training.

    Args:
        tokenizer: the adapter.
        llm: the frozen LLM that it writes for.
        examples: images with sentences, of which a few only watch the training.
        settings: the run.
        processes: the processes that train together.
        codebook: fingerprint of the codebook that the words come from.
        word_vectors: (W, D) in the joint space: the words of the adapter's table, for SEA; None without it.
    """

    name, result = "adapter", "model"

    def __init__(
        self,
        tokenizer: SoftTokenizer,
        llm: FrozenLLM,
        examples: Examples,
        settings: AdapterRun,
        processes: Accelerator,
        codebook: str,
        word_vectors: Tensor | None = None,
    ) -> None:
        self.tokenizer, self.llm, self.settings = tokenizer.to(processes.device).train(), llm, settings
        self.processes, self.seed, self.schedule = processes, examples.seed, settings.schedule
        self.examples, self.watched = split_examples(examples.data, examples.seed)
        self.codebook, self.word_vectors = codebook, word_vectors
        optimizer = AdamW(tokenizer.parameters(), lr=settings.rate, weight_decay=0.01)
        self.networks = {ADAPTER: OptimizerStep(tokenizer, optimizer, processes, 1.0, trained_only=True)}
        self.examples_per_step = settings.batch_size * processes.num_processes

    def learning_rate(self, step: int) -> float:
        return self.schedule.at(step)

    def batches(self, first: int, last: int) -> Iterator[Sequence[list[Example]]]:
        size = self.settings.batch_size
        for step in range(first, last):
            start = (step * self.processes.num_processes + self.processes.process_index) * size
            yield [[self.examples.example(start + place) for place in range(size)]]

    def loss(self, step: int, part: list[Example], network: str) -> Loss:
        features = [example.features for example in part]
        soft = soft_tokens(self.networks[network].prepared, features)
        generation = caption_loss(self.llm, soft, part)
        terms = {"generation": generation.detach()}
        loss = generation
        if self.word_vectors is not None and self.settings.align:
            alignment = self.alignment(torch.stack(soft), stacked(features), self.word_vectors)
            loss = generation + self.settings.align * alignment
            terms["alignment"] = alignment.detach()
        return Loss(loss, {"loss": loss.detach(), **terms})

    def alignment(self, soft: Tensor, features: Tensor, word_vectors: Tensor) -> Tensor:
        """SEA's loss of a batch: soft tokens (B, N, width) of patch features (B, h, w, C)."""
        fields = pool_fields(features.to(soft.device), round(soft.shape[1] ** 0.5)).flatten(0, 1)  # (B·N, C)
        fields = self.tokenizer.joint_encoder.to_joint_space(fields)  # (B·N, D)
        near = (fields @ word_vectors.to(fields).T).topk(min(NEAREST, len(word_vectors)), dim=-1)
        drawn = draw_words(near.indices, near.values)
        return alignment_loss(soft.flatten(0, 1), drawn, self.tokenizer.table.vectors.to(soft))

    @torch.no_grad()
    def validate(self, step: int) -> Terms:
        """The generation loss on images that are not trained on."""
        part = [self.watched.example(number) for number in range(len(self.watched.places))]
        size = self.settings.batch_size
        parts = [part[start : start + size] for start in range(0, len(part), size)]
        losses = [
            caption_loss(self.llm, soft_tokens(self.tokenizer, [one.features for one in some]), some)
            * len(some)
            for some in parts
        ]
        return {"generation": float(sum(losses)) / len(part)}

    def page(self, step: int) -> Tensor:
        """Images that are not trained on, above what the LLM says about them: the same images every time."""
        places = self.watched.places[:SHOWN]
        images = [self.watched.data.images[place] for place in places]
        features = [self.watched.data.read(place) for place in places]
        captions = write_captions(self.llm, self.tokenizer, features)
        half = -(-len(places) // 2)
        pictures = [load_image(image.file) for image in images]
        return image_grid(
            [row for row in (pictures[:half], pictures[half:]) if row],
            [row for row in (captions[:half], captions[half:]) if row],
        )

    def metadata(self) -> dict[str, Any]:
        run = asdict(self.settings)
        own = {name: run[name] for name in ("rate", "steps", "warmup", "batch_size", "align")}
        data = self.examples.data
        return {
            **own,
            "kind": self.tokenizer.NAME,
            "adapter": asdict(self.tokenizer.adapter),
            "seed": self.seed,
            "processes": self.processes.num_processes,
            "images": f"{len(data.images):,} with fingerprint {data.fingerprint}",
            "words": len(self.tokenizer.table.words),
            "start": FITTED,
            "codebook": self.codebook,
            "prompts": TRAINED_PROMPTS,
        }

    def metadata_defaults(self) -> dict[str, Any]:
        """An older state does not name its codebook; its prompts and a resampler's start were others."""
        random = self.tokenizer.NAME in ("resampler", "uhd")
        start = "random weights" if random else FITTED
        return {"codebook": self.codebook, "start": start, "prompts": OLDER_PROMPTS}

    def save_result(self, folder: Path, step: int) -> None:
        data = self.examples.data
        self.tokenizer.facts = {
            "steps": step,
            "images": len(data.images),
            "image_fingerprint": data.fingerprint,
            "classes": list(data.classes),
            "align": self.settings.align,
            "seed": self.seed,
            "prompts": TRAINED_PROMPTS,
        }
        self.tokenizer.save_pretrained(folder, half=True)


def stacked(features: Sequence[ImageFeatures]) -> Tensor:
    """The features of B images that are read as a whole: (B, h, w, C)."""
    return torch.stack([one.values for one in features])


def soft_tokens(adapter: Callable[..., Tensor], features: Sequence[ImageFeatures]) -> list[Tensor]:
    """What an adapter writes for each image, (N, width): in one batch, or image by image if in parts."""
    if any(one.columns is not None for one in features):
        return [adapter(*one) for one in features]
    return list(adapter(stacked(features)))


def caption_loss(llm: FrozenLLM, soft: Sequence[Tensor], part: Sequence[Example]) -> Tensor:
    """L_gen: the mean of -log p over all tokens of the sentences behind soft tokens (N, width)."""
    check_finite(soft)
    prompts = [
        soft_prompt(Embeddings(one), example.sentence.question)
        for one, example in zip(soft, part, strict=True)
    ]
    return llm.loss(prompts, [Prompt((f" {example.sentence.text}",)) for example in part])


def check_finite(soft: Sequence[Tensor]) -> None:
    """Refuse soft tokens that no LLM can read.

    Raises:
        V2LError: some are NaN or infinite.
    """
    if not all(bool(one.isfinite().all()) for one in soft):
        got = "the adapter in training writes NaN or infinite values"
        raise V2LError(got, "finite values", "a lower --rate, with -o ANOTHER_FOLDER")


@torch.no_grad()
def write_captions(llm: FrozenLLM, tokenizer: SoftTokenizer, features: Sequence[ImageFeatures]) -> list[str]:
    """What the LLM says about images, by their features."""
    prompts = [soft_prompt(Embeddings(soft)) for soft in soft_tokens(tokenizer, features)]
    config = GenerationConfig(MAX_NEW_TOKENS, stop=STOP, no_repeat=NO_REPEAT)
    return [generation.text.strip() for generation in llm.generate(prompts, config)]

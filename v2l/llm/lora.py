"""prompts with the costs of their answers ──► the loss of a LoRA adapter; the LLM itself does not change.

Sources: LoRA, arXiv 2106.09685; minimum risk training, arXiv 1512.02433; V2L Tokenizer, arXiv 2403.07874,
    section 4.3, which tunes
LLaMA-2 with rank 4 and alpha 32.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.llm.adapters import LoraShape, fix_visual_factors, with_adapter
from v2l.llm.constraints import WeightedIds
from v2l.llm.frozen import FrozenLLM
from v2l.llm.kv_cache import logits_at

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Flattens the LLM's initial token preferences, so that the prior dominates early training.
TRAINING_TEMPERATURE = 4.0


class AdapterExample(NamedTuple):
    """One prompt, and what the possible answers after n of its tokens cost."""

    prompt: list[int]  # token ids
    places: list[int]  # n positions in the prompt; an answer is predicted after each
    choices: list[WeightedIds]  # for each place the m candidate token ids, with additive log-prior weights
    costs: list[Tensor]  # for each place (m,) float32: the cost of each candidate


class TrainableAdapter:
    """A LoRA adapter that is laid over an LLM to be trained.

    Args:
        llm: the LLM; it carries the adapter from now on.
        shape: sizes of the adapter.
        seed: of the adapter's first weights.
        visual_features: (V, dim) float32, how each token looks; the adapters of the input embedding and of
            the output head are built on them (`fix_visual_factors`). None leaves these layers as they are.

    Attributes:
        model: the LLM with its adapter; only the adapter's weights need gradients.
        shape: of the adapter, with the width of the visual features.

    Raises:
        V2LError: the LLM has no layers of the shape's names.
    """

    def __init__(
        self, llm: FrozenLLM, shape: LoraShape, seed: int = 0, visual_features: Tensor | None = None
    ) -> None:
        torch.manual_seed(seed)
        self.llm = llm
        self.shape = shape if visual_features is None else replace(shape, visual_dim=visual_features.shape[1])
        self.model = with_adapter(llm, self.shape)
        if visual_features is not None:
            fix_visual_factors(self.model, visual_features)

    @property
    def weights(self) -> list[Tensor]:
        """The weights that are trained."""
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    def loss(self, example: AdapterExample, model: Any = None) -> Tensor:
        """The expected cost of the answers, as the mean over places: () float32.

        At each place Σᵢ pᵢ cᵢ with p = softmax((logits + log-prior) / T), T = `TRAINING_TEMPERATURE` (minimum
        risk, equation 3).

        Args:
            example: the prompt and the costs.
            model: the model to call: `self.model`, or what accelerate made of it.

        Raises:
            V2LError: the prompt is longer than the LLM's context.
        """
        if len(example.prompt) > self.llm.context:
            raise V2LError(
                f"got an example of {len(example.prompt)} tokens, too long for {self.llm.name!r}",
                f"{self.llm.context} tokens",
                "a checkpoint with fewer tokens for each image",
            )
        called = cast("PreTrainedModel", self.model if model is None else model)
        logits = logits_at(called, example.prompt, example.places)  # (n, V)
        costs = []
        for row, choices, cost in zip(logits, example.choices, example.costs, strict=True):
            probabilities = (choices.scores(row) / TRAINING_TEMPERATURE).softmax(dim=0)  # (m,)
            costs.append(probabilities @ cost.to(probabilities.device))
        return torch.stack(costs).mean()

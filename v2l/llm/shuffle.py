"""a frozen LLM ──► the same LLM with shuffled weights: a control that has everything but the training."""

from __future__ import annotations

import copy

import torch

from v2l.llm.frozen import FrozenLLM


def shuffle_weights(llm: FrozenLLM, seed: int = 0) -> FrozenLLM:
    """A copy of the LLM with the values of every weight tensor in random order.

    This control keeps architecture, vocabulary and the distribution of the weights, and removes what training
    gave.
    """
    generator = torch.Generator().manual_seed(seed)
    model = copy.deepcopy(llm.model)
    with torch.no_grad():
        for weight in model.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return FrozenLLM(model, llm.tokenizer, f"{llm.name} with its weights shuffled")

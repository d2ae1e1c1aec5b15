"""an LLM and a seed ──► random embeddings of its width, and prompts that hold them."""

from __future__ import annotations

import torch
from torch import Tensor

from v2l.llm import FrozenLLM
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt


def vectors(llm: FrozenLLM, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, llm.embedding_width, generator=generator)


def images(llm: FrozenLLM, count: int = 4) -> list[Prompt]:
    """Prompts of different lengths, each with other vectors."""
    return [
        Prompt(("a photo of" * (n % 2 + 1), Embeddings(vectors(llm, n + 1, n)), " a" * (n + 1)))
        for n in range(count)
    ]

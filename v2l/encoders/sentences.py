"""texts ──► unit vectors, by a folder of sentence-transformers that is loaded when the first text comes.

Images need the text half only for the vectors of the classes, and those are kept in a cache. So most commands
never load it, which saves them some seconds.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from v2l.checkpoint import load_tensors
from v2l.errors import V2LError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

UNUSED = "embeddings.position_ids"  # a buffer that old files hold and networks do not


class SentenceEncoder:
    """A frozen sentence encoder: a transformer, the mean of its outputs, unit length.

    Args:
        folder: `config.json`, `model.safetensors` and the rest, as sentence-transformers writes them.
        device: where it runs.

    Attributes:
        dim: width of the vectors.

    Raises:
        V2LError: the folder's config does not state a width.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder, self.device = folder, device
        try:
            self.dim = int(json.loads((folder / "config.json").read_text("utf-8"))["hidden_size"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise V2LError(
                f"{folder / 'config.json'} is missing or damaged", "the file of its own package", "v2l doctor"
            ) from error

    def weights(self) -> dict[str, Tensor]:
        """The tensors of the network by name, read from their file without building the network.

        Raises:
            V2LError: the file is missing or damaged.
        """
        tensors = load_tensors(self.folder / "model.safetensors")
        return {f"0.model.{name}": tensor for name, tensor in tensors.items() if name != UNUSED}

    @cached_property
    def network(self) -> SentenceTransformer:
        """The network, loaded."""
        from sentence_transformers import SentenceTransformer

        with contextlib.redirect_stderr(io.StringIO()):  # progress bars
            network = SentenceTransformer(str(self.folder), device=str(self.device), local_files_only=True)
        return network.requires_grad_(False).eval()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """N texts ──► (N, dim) float32, unit length."""
        return self.network.encode(
            list(texts),
            batch_size=batch_size,
            convert_to_tensor=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        ).float()

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """N texts ──► the token ids that the network reads."""
        if not texts:
            return []
        encoded = self.network.tokenizer(
            list(texts), add_special_tokens=False, truncation=True, max_length=self.network.max_seq_length
        )
        return [tuple(ids) for ids in encoded["input_ids"]]

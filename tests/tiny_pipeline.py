"""a seed ──► a whole small pipeline: encoder, codebooks, tokenizer and LLM, all real and all with random
weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from tiny_llm import TEXT, tiny_llm
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, normalize, pixel_unshuffle

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.config import Config, ModelConfig, ModelsConfig
from v2l.encoders.base import JointEncoder, fingerprint_of, resize_whole
from v2l.images import resize_and_crop
from v2l.llm import FrozenLLM
from v2l.pipeline.pipeline import Pipeline
from v2l.tokenizers.adapters.model import AdapterSettings
from v2l.tokenizers.adapters.resampler import ResamplerTokenizer
from v2l.tokenizers.grid.model import V2LTokenizer


class ColourEncoder(JointEncoder):
    """Images by their colours in 4 × 4 fields, texts by their letters; one random projection each."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.dim, self.image_size, self.templates = "colours", 16, 32, ("{}",)
        generator = torch.Generator().manual_seed(0)
        self.colours = torch.nn.Parameter(torch.randn(48, self.dim, generator=generator), requires_grad=False)
        self.fingerprint = fingerprint_of(self.state_dict())

    def prepare(self, image: Tensor) -> Tensor:
        return resize_and_crop(image, self.image_size)

    def encode_images(self, images: Tensor) -> Tensor:
        fields = adaptive_avg_pool2d(self.prepare_batch(images), 4).flatten(1)  # (B, 3, 4, 4) → (B, 48)
        return normalize((fields - 0.5) @ self.colours, dim=-1)

    def patch_features(self, images: Tensor, side: int | None = None) -> Tensor:
        """The colours of the 4 × 4 fields of each patch of 8 × 8 pixels: (B, h, w, 48)."""
        seen = self.prepare_batch(images) if side is None else resize_whole(images, side, 8)
        return pixel_unshuffle(avg_pool2d(seen, 2), 4).movedim(1, -1)

    def to_joint_space(self, features: Tensor) -> Tensor:
        return normalize((features - 0.5) @ self.colours, dim=-1)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        return normalize(
            torch.stack([torch.randn(self.dim, generator=seeded(text)) for text in texts]), dim=-1
        )

    def tokenize_texts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        return [tuple(text.lower().encode()) for text in texts]


def seeded(text: str) -> torch.Generator:
    """A source of chance that belongs to a text."""
    return torch.Generator().manual_seed(int(hashlib.sha256(text.encode()).hexdigest()[:8], 16))


def tiny_tokenizer(llm: FrozenLLM, encoder: JointEncoder | None = None) -> V2LTokenizer:
    """A tokenizer with an 8 × 8 grid at 64 px, whose local words are all the letters and pieces of the LLM."""
    encoder = encoder or ColourEncoder()
    source = Source(llm.name, llm.fingerprint, encoder.name, encoder.fingerprint)
    ids = [i for i in range(llm.vocabulary_size) if i not in llm.special_ids]
    local = tuple(Entry(llm.surface(i).strip(), (i,)) for i in ids)
    words = sorted({word.strip("<>,.#:\n") for text in TEXT for word in text.split()} - {""})
    tokens = tuple(Entry(word, tuple(llm.encode_pieces(f" {word}"))) for word in words)
    torch.manual_seed(0)
    network = ModelConfig(
        image_size=64,
        global_tokens=4,
        stem=4,
        resampling="shuffle",
        level_channels=(32, 32),
        res_blocks=1,
        z_channels=8,
        lookup_dim=6,
        attention_heads=2,
        attention_head_dim=8,
        normalize_features=False,
    )
    tokenizer = V2LTokenizer(
        Config(ModelsConfig(encoder.name, llm.name), model=network),
        Codebook(local, encoder.encode_texts([str(entry.ids) for entry in local]), source),
        Codebook(tokens, encoder.encode_texts([entry.word for entry in tokens]), source),
    )
    tokenizer.use_joint_encoder(encoder)
    return tokenizer.eval()


def tiny_pipeline(context: int = 512) -> Pipeline:
    """Tokenizer and LLM that speak the same words."""
    llm = tiny_llm(context)
    return Pipeline(tiny_tokenizer(llm), llm)


def tiny_soft_pipeline(context: int = 512) -> Pipeline:
    """An adapter of random weights that writes four soft tokens for an LLM."""
    llm, encoder = tiny_llm(context), ColourEncoder()
    width = llm.embedding_width
    names = (encoder.name, encoder.fingerprint, llm.name, llm.fingerprint)
    torch.manual_seed(0)
    adapter = ResamplerTokenizer(AdapterSettings(encoder.dim, 48, width, 4, 0, 0.5, *names))
    torch.nn.init.normal_(
        adapter.network.from_features.weight
    )  # it starts at zero: all images would be alike
    adapter.use_joint_encoder(encoder)
    return Pipeline(adapter.eval(), llm)

"""claim: a CLIP text tower embeds words 10 times as fast as padded sentences or faster, equal to 1e-5.

    python benchmarks/embedding.py [--candidates 256] [--templates 16] [--plain-candidates 32]
                                   [--layers 12] [--width 768]

The tower is causal, has the size of ViT-L/14 and random weights. The words are those of the shipped codebook,
n-grams included. The plain method runs on the first --plain-candidates of these words. Its time is scaled by
the number of words, because each word takes the same time.
"""

from __future__ import annotations

import argparse

import open_clip
import torch
from open_clip.model import set_model_preprocess_cfg
from plain.clock import timed
from plain.embedding import embed_plainly
from torch import nn

from v2l.codebook.codebook import Codebook
from v2l.codebook.embedding import WordEmbedder
from v2l.encoders.openclip import IMAGENET_TEMPLATES, OpenCLIP
from v2l.tokenizers.grid.model import V2LTokenizer

VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 32, "patch_size": 32}  # not used here


def text_tower(width: int, layers: int) -> OpenCLIP:
    """A CLIP with random weights and a small image half."""
    torch.manual_seed(0)
    text = {
        "context_length": 77,
        "vocab_size": 49408,
        "width": width,
        "heads": max(1, width // 64),
        "layers": layers,
    }
    model = open_clip.CLIP(embed_dim=width, vision_cfg=VISION, text_cfg=text, quick_gelu=True)
    set_model_preprocess_cfg(model, {"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3})
    return OpenCLIP(model, open_clip.SimpleTokenizer(), f"random text tower, width {width}, {layers} layers")


class Positions:
    """Counts the token positions that a tower runs, padding included."""

    def __init__(self, block: nn.Module) -> None:
        self.count = 0
        block.mlp.register_forward_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        self.count += output[..., 0].numel()

    def take(self) -> int:
        """The count since the last call."""
        count, self.count = self.count, 0
        return count


def shipped_words(count: int) -> list[str]:
    """Words of the shipped global codebook, evenly spread."""
    codebook: Codebook = V2LTokenizer.from_pretrained().global_codebook
    words = list(codebook.words)
    return words[:: max(1, len(words) // count)][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=256)
    parser.add_argument("--templates", type=int, default=16)
    parser.add_argument("--plain-candidates", type=int, default=32)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    given = parser.parse_args()
    encoder, templates = text_tower(given.width, given.layers), IMAGENET_TEMPLATES[: given.templates]
    words = shipped_words(given.candidates)
    fewer = words[: given.plain_candidates]
    positions = Positions(encoder.model.transformer.resblocks[0])
    _, check_seconds = timed(lambda: encoder.causal_tower)
    positions.take()
    ours, our_seconds = timed(lambda: WordEmbedder(encoder, templates, renormalize=False).embed(words))
    our_positions = positions.take()
    plain, plain_seconds = timed(lambda: embed_plainly(encoder, fewer, templates))
    scale = len(words) / len(fewer)
    distance = float((ours[: len(fewer)] - plain).abs().max())
    print(
        f"{encoder.name}; {len(words)} words x {len(templates)} templates; largest difference {distance:.1e}"
    )
    print(
        f"plain {len(words) / (scale * plain_seconds):8.2f} words/s   "
        f"timed on {len(fewer)} words, each padded to 77 tokens"
    )
    print(
        f"v2l   {len(words) / our_seconds:8.2f} words/s   "
        f"and {check_seconds:.1f} s once, to compare with padded texts"
    )
    print(
        f"ratio {scale * plain_seconds / our_seconds:8.1f}   "
        f"ratio of token positions {scale * positions.take() / our_positions:.1f}"
    )


if __name__ == "__main__":
    main()

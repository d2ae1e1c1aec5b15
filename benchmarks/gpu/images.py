"""images in memory ──► images a second of tokenizing with ViT-L/14 (random weights) and the paper's network.

    python benchmarks/gpu/images.py [--toy]

The engine's own function (`v2l.tokenization.batch`), JPEG decoding included, in float32, bf16, and bf16
compiled; and the forward passes alone.
"""

from __future__ import annotations

import io

import numpy as np
import open_clip
import torch
from measure import device, forget_peak, options, peak, seconds
from paper_training import stand_in_clip, stand_in_codebook
from PIL import Image

from v2l.codebook.codebook import Source
from v2l.config import load_config
from v2l.encoders.openclip import OpenCLIP
from v2l.tokenization import batch
from v2l.tokenization.plan import Settings
from v2l.tokenization.samples import Sample
from v2l.tokenizers.grid.model import V2LTokenizer


def photographs(count: int, size: tuple[int, int]) -> list[Sample]:
    """JPEGs of smooth noise, about as large as ImageNet's."""
    samples = []
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        content = io.BytesIO()
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
        samples.append(Sample(str(number), content.getvalue))
    return samples


def build(toy: bool) -> V2LTokenizer:
    """The paper's tokenizer with a random ViT-L/14."""
    if toy:
        encoder = stand_in_clip()
    else:
        clip = open_clip.create_model("ViT-L-14-quickgelu", pretrained=None, device=str(device()))
        encoder = OpenCLIP(clip, open_clip.SimpleTokenizer(), "random ViT-L/14")
    source = Source("random", "random", encoder.name, encoder.fingerprint)
    rows = (300, 200) if toy else (32_000, 11_908)
    config = load_config("paper")
    model = V2LTokenizer(config, *(stand_in_codebook(size, source) for size in rows)).to(device()).eval()
    model.use_joint_encoder(encoder.to(device()))
    return model


def main() -> None:
    given = options(__doc__)
    model = build(given.toy)
    count, size = (4, (200, 150)) if given.toy else (1024, (500, 375))
    samples, forward_batch = photographs(count, size), 2 if given.toy else 64
    for name, precision, compiled in (
        ("float32", "float32", False),
        ("bf16", "bfloat16", False),
        ("bf16 compiled", "bfloat16", True),
    ):
        if compiled and given.toy:
            continue
        if compiled:
            for part in (model.encoder, model.joint_encoder):
                part.compile()
        chosen = Settings(precision=precision, forward_batch=forward_batch)
        forget_peak()
        passed = seconds(
            lambda s=chosen: list(batch.tokenize_samples(model, samples, s, in_memory=256)), repeats=1
        )
        print(
            f"{name}: {count / passed:.1f} images/s with {batch.readers(device())} reading threads, peak {peak()}"
        )
    views = [model.prepare(torch.rand(3, 300, 400)) for _ in range(forward_batch)]
    with torch.inference_mode(), torch.autocast(device().type, torch.bfloat16):
        passed = seconds(lambda: model.encode_prepared(views), repeats=1)
    print(f"forward passes and lookup alone, bf16: {forward_batch / passed:.1f} images/s")


if __name__ == "__main__":
    main()

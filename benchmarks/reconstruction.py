"""photographs ──► PSNR through 256 local words, beside JPEG and WebP in as many bytes and beside shrinking.

    python benchmarks/reconstruction.py FOLDER [--checkpoint DIR] [--limit N]

RGB PSNR in dB on 128 px centre crops, mean over images with a 95 % interval (normal). 256 indices of V codes cost 256 · log2 V bits;
JPEG and WebP get the best quality that fits, or their smallest file where none does, and the bytes that they took are printed.
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from v2l.images import Skipped, find_images, load_images, resize_and_crop
from v2l.metrics import psnr
from v2l.tokenizer.model import V2LTokenizer

BATCH = 16


def compressed(image: Tensor, kind: str, budget: float) -> tuple[Tensor, int]:
    """The image through the best file of at most `budget` bytes, else the smallest; and its bytes."""
    pixels = Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy())
    smallest = b""
    for quality in (*range(95, 5, -5), 4, 3, 2, 1, 0):
        file = io.BytesIO()
        pixels.save(file, kind, quality=quality)
        if not smallest or len(file.getvalue()) < len(smallest):
            smallest = file.getvalue()
        if len(smallest) <= budget:
            break
    decoded = np.asarray(Image.open(io.BytesIO(smallest)).convert("RGB"))
    return torch.from_numpy(decoded.copy()).permute(2, 0, 1).float() / 255, len(smallest)


def summary(values: list[float]) -> str:
    """Mean with its 95 % interval."""
    mean, half = float(np.mean(values)), 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return f"{mean:6.2f} dB  [{mean - half:.2f}, {mean + half:.2f}]"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="data/samples", type=Path)
    parser.add_argument("--checkpoint", default=None)
    parser.add_argument("--limit", type=int, default=10**9)
    given = parser.parse_args()
    model = V2LTokenizer.from_pretrained(given.checkpoint)
    budget = 256 * math.log2(len(model.local_codebook)) / 8
    paths, skipped = find_images(given.folder)[: given.limit], Skipped()
    crops = [resize_and_crop(image, 128) for _, image in load_images(paths, skipped)]
    rows: dict[str, list[float]] = {"v2l": [], "shrunk to 16 x 16": [], "JPEG": [], "WebP": []}
    sizes: dict[str, list[int]] = {"JPEG": [], "WebP": []}
    used: set[int] = set()
    for start in range(0, len(crops), BATCH):
        images = torch.stack(crops[start : start + BATCH])
        tokens = model.encode(images)
        used |= set(tokens.local_ids.flatten().tolist())
        rows["v2l"] += psnr(images, model.decode(tokens).cpu()).tolist()
        small = interpolate(images, size=(16, 16), mode="area")
        rows["shrunk to 16 x 16"] += psnr(images, interpolate(small, size=(128, 128), mode="bicubic").clamp(0, 1)).tolist()
        for kind in sizes:
            pairs = [compressed(image, kind, budget) for image in images]
            rows[kind] += psnr(images, torch.stack([image for image, _ in pairs])).tolist()
            sizes[kind] += [size for _, size in pairs]
    print(f"{len(crops)} images of {given.folder} ({len(skipped)} skipped), {budget:.0f} bytes of indices an image")
    print(f"{len(used):,} of {len(model.local_codebook):,} local words in use among {256 * len(crops):,}")
    for name, values in rows.items():
        took = f"  {np.mean(sizes[name]):.0f} bytes" if name in sizes else ""
        print(f"{name:18} {summary(values)}{took}")


if __name__ == "__main__":
    main()

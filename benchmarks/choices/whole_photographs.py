"""photographs ──► how tiles, one pass and entropy coding compare: the figures of docs/token-files.md.

    python benchmarks/choices/whole_photographs.py FOLDER --limit 4

The global words are random ones, because the local tokens hold nearly all information, and the joint encoder
need not be loaded.
"""

from __future__ import annotations

import argparse
import bz2
import lzma
import random
import zlib
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor

import v2l
from v2l.evaluation.codecs import compress
from v2l.images import load_image, resize
from v2l.metrics import Mean, psnr
from v2l.pipeline.reconstruction import decode_photograph, encode_photograph
from v2l.sources import find_images
from v2l.token_file import pack
from v2l.tokenizers.cnn import autoencoder
from v2l.tokenizers.cnn.tiling import Tiling, stretches
from v2l.tokenizers.grid.model import V2LTokenizer

FACTOR = 8
TILINGS = {"tiles of 16, no overlap": Tiling(16, 0, 0), "tiles of 24, overlap 8": Tiling(24, 8, 0)}
LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 9}]
CODERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": lambda content: zlib.compress(content, 9),
    "bz2": bz2.compress,
    "lzma": lambda content: lzma.compress(content, format=lzma.FORMAT_RAW, filters=LZMA),
}
Figures = defaultdict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--limit", type=int, default=4)
    given = parser.parse_args()
    model = v2l.V2LTokenizer.from_pretrained()
    words = torch.randint(len(model.global_codebook), (1, 21), generator=torch.Generator().manual_seed(0))
    V2LTokenizer.global_tokens = lambda self, images, count=None: (torch.zeros(1, 21), words)
    figures: Figures = defaultdict(list)
    for file in random.Random(0).sample(sorted(find_images(given.folder)), 8)[: given.limit]:
        measure(model, load_image(file), figures)
        print(file, flush=True)
    for name, values in figures.items():
        print(f"{name:50} {Mean.of(values)}  n = {len(values)}")


def measure(model: V2LTokenizer, image: Tensor, figures: Figures) -> None:
    """Add the figures of one photograph."""
    file = encode_photograph(model, image)
    one_pass, size = decode_photograph(model, file), len(file.to_bytes())
    figures["one pass, dB"].append(decibel(image, one_pass))
    figures["one pass, bytes"].append(size)
    small = encode_photograph(model, image, "model")
    figures["model scale, dB"].append(decibel(image, decode_photograph(model, small)))
    figures["model scale, bytes"].append(len(small.to_bytes()))
    for codec in ("WebP", "JPEG"):
        through = compress(image, codec, size)
        figures[f"{codec}, dB"].append(decibel(image, through.image))
        figures[f"{codec}, bytes"].append(through.size)
    figures["shrunk, dB"].append(decibel(image, shrunk(image, size)))
    codes = file.streams[0].rows
    contents = {"packed": pack(file.streams[0]), "16 bits": codes.numpy().astype("<u2").tobytes()}
    for name, content in contents.items():
        for coder, encode in CODERS.items():
            figures[f"{coder} of {name}, share"].append(len(encode(content)) / len(contents["packed"]))
    whole = autoencoder.TILING
    for name, tiling in TILINGS.items():
        autoencoder.TILING = tiling
        tiled = encode_photograph(model, image)
        decoded = decode_photograph(model, tiled)
        figures[f"{name}, dB"].append(decibel(image, decoded))
        figures[f"{name}, same codes"].append((tiled.streams[0].rows == codes).float().mean().item())
        for kind, picture in (("tiles", decoded), ("one pass", one_pass), ("original", image)):
            figures[f"{name}, steps of {kind}"] += [steps(picture, tiling, axis) for axis in (1, 2)]
    autoencoder.TILING = whole


def decibel(image: Tensor, other: Tensor) -> float:
    return psnr(image[None], other[None]).item()


def shrunk(image: Tensor, size: int) -> Tensor:
    """The image at three bytes a pixel in `size` bytes, enlarged again."""
    height, width = image.shape[-2:]
    scale = (size / 3 / (height * width)) ** 0.5
    small = resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))
    return resize((small * 255).round() / 255, (height, width))


def steps(picture: Tensor, tiling: Tiling, axis: int) -> float:
    """Steps of brightness across borders of tiles, divided by those across other borders of cells."""
    size = picture.diff(dim=axis).abs().mean(dim=(0, 3 - axis))
    cells, tiles = torch.zeros(2, len(size), dtype=torch.bool)
    cells[FACTOR - 1 :: FACTOR] = True
    for stretch in stretches(-(-picture.shape[axis] // FACTOR), tiling)[1:]:
        tiles[stretch.own.start * FACTOR - 1] = True
    return (size[tiles].mean() / size[cells & ~tiles].mean()).item()


if __name__ == "__main__":
    main()

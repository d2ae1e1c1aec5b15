"""run by torchrun: build the tiny codebooks together, and print how many processes there were and how many
parts this one made."""

from __future__ import annotations

import sys
from pathlib import Path

from tiny_encoder import tiny_encoder
from tiny_llm import tiny_llm

from v2l.codebook import build as build_module
from v2l.codebook.build import CodebookBuilder
from v2l.config import CodebookConfig
from v2l.processes import join_world
from v2l.progress import silent
from v2l.shards import Shards
from v2l.sources import find_images

samples, target = map(Path, sys.argv[1:])
world = join_world("cpu")
build_module.Shards = lambda folder, step, progress, size, world: Shards(
    folder, step, progress, min(size, 5), world
)
encoder = tiny_encoder(target.parent / f"clip-{world.index}")
made: list[int] = []
encode = encoder.encode_images
encoder.encode_images = lambda images: made.append(len(images)) or encode(images)
builder = CodebookBuilder(
    encoder, tiny_llm(), CodebookConfig(templates=("the {}",)), target.parent / "work", silent, world=world
)
_, words = builder.build(find_images(samples), target, keep_candidates=True)
print(f"{world.count} processes, {len(words)} words, {sum(made)} images in this one\n", end="", flush=True)

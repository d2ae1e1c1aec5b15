"""claim: filtering reads, encodes and counts images within 10 % of the encoder's own forward speed.

python benchmarks/filtering.py [FOLDER] [--images 128] [--encoder conse]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from plain.clock import timed
from plain.filtering import vote_plainly

from v2l.codebook.filtering import count_votes
from v2l.encoders import load_encoder
from v2l.encoders.image_features import BATCH, encode_files
from v2l.images import load_image
from v2l.shards import Shards
from v2l.sources import find_images
from v2l.tokenizers.grid.model import V2LTokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="data/samples", type=Path)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--encoder", default="conse")
    given = parser.parse_args()
    encoder = load_encoder(given.encoder, "cpu")
    candidates = V2LTokenizer.from_pretrained().global_codebook.embeddings.float()  # (V, D)
    found = find_images(given.folder)
    paths = (found * (given.images // len(found) + 1))[: given.images]

    def forward() -> None:
        for batch in prepared.split(BATCH):
            encoder.encode_images(batch)

    def ours() -> torch.Tensor:
        with tempfile.TemporaryDirectory() as folder:
            return count_votes(
                encode_files(encoder, paths, Shards(Path(folder), "images", size=256)), candidates
            )

    prepared = torch.stack([encoder.prepare(load_image(path)) for path in paths])
    encoder.encode_images(prepared[:BATCH])  # warm-up: the first call is slower
    _, forward_seconds = timed(forward)
    our_counts, our_seconds = timed(ours)
    plain_counts, plain_seconds = timed(lambda: vote_plainly(encoder, paths, candidates))
    same = int((our_counts - plain_counts).abs().sum())
    print(
        f"{given.encoder}, {len(paths)} images of {given.folder} ({len(found)} files), "
        f"{len(candidates):,} candidates; {same} votes differ"
    )
    for name, seconds in (("forward", forward_seconds), ("v2l", our_seconds), ("plain", plain_seconds)):
        print(f"{name:7} {len(paths) / seconds:8.1f} images/s")
    print(
        f"v2l / forward {forward_seconds / our_seconds:.2f}   v2l / plain {plain_seconds / our_seconds:.2f}"
    )


if __name__ == "__main__":
    main()

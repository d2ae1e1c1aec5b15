"""which threshold filters best: words that unseen photographs lose, beside words without meaning that go.

python benchmarks/choices/filter_threshold.py CODEBOOKS UNSEEN...

CODEBOOKS is what v2l build-codebook --keep-candidates wrote, UNSEEN photographs that did not filter.

A word without meaning is one that the encoder knows in pieces only ("promulg"): a stand-in, for rare words ("wolverine") are among them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from v2l.codebook.codebook import Codebook
from v2l.codebook.filtering import TOP, Rule, image_features
from v2l.codebook.shards import Shards
from v2l.encoders import load_encoder
from v2l.evaluation.table import markdown_table
from v2l.metrics import Proportion
from v2l.sources import find_images
from v2l.zoo import cache_home

THRESHOLDS = (0, 1, 2, 3, 5, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codebooks", type=Path)
    parser.add_argument("unseen", nargs="+")
    given = parser.parse_args()
    candidates = Codebook.load(given.codebooks / "candidates")
    encoder = load_encoder(candidates.source.encoder, "cpu")
    features, _ = image_features(encoder, find_images(*given.unseen), Shards(cache_home() / "images", "encoding images", size=256))
    _, nearest = candidates.nearest(features, TOP)  # (n, 5)
    counts = torch.tensor([entry.count for entry in candidates.entries])
    plain, *readings = encoder.tokenize_texts(["a", *(entry.word.split()[-1] for entry in candidates.entries)])
    in_pieces = torch.tensor([len(reading) > len(plain) for reading in readings])
    rows = []
    for threshold in THRESHOLDS:
        kept = torch.zeros(len(candidates), dtype=torch.bool)
        kept[Rule(min_count=threshold).rows(counts)] = True
        lost = Proportion(int((~kept[nearest]).sum()), nearest.numel())
        meaningless = Proportion(int((kept & in_pieces).sum()), int(kept.sum()))
        rows.append([str(threshold), f"{int(kept.sum()):,}", str(lost), str(meaningless)])
    print(f"{len(features):,} unseen photographs, {len(candidates):,} candidates, {encoder.name}")
    print(
        markdown_table(("min_count", "words kept", f"of the unseen's {TOP} nearest words lost", "of the kept, known in pieces only"), rows)
    )


if __name__ == "__main__":
    main()

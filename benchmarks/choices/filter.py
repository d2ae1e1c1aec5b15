"""codebook + photographs ──► for each filter, the useful words that it loses and the rare ones that it keeps.

python benchmarks/choices/filter.py CODEBOOKS --seen PLACE --unseen PLACE

CODEBOOKS is the folder that v2l build-codebook --keep-candidates wrote. SEEN are the photographs that filter,
and UNSEEN are other photographs.

A word counts as meaningless if the encoder splits it into several tokens ("promulg"). This is an
approximation, because some rare words ("wolverine") are split, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from v2l.codebook.codebook import Codebook
from v2l.codebook.filtering import TOP, count_top_candidates
from v2l.encoders import load_encoder
from v2l.encoders.image_features import image_features
from v2l.evaluation.table import markdown_table
from v2l.metrics import Proportion
from v2l.shards import Shards
from v2l.sources import find_images
from v2l.zoo import cache_home

VOTES, THRESHOLDS = (5, 20, 50, 100, 200), (1, 2, 5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("codebooks", type=Path)
    parser.add_argument("--seen", action="append", required=True)
    parser.add_argument("--unseen", action="append", required=True)
    given = parser.parse_args()
    candidates = Codebook.load(given.codebooks / "candidates")
    encoder = load_encoder(candidates.source.encoder, "cpu")
    shards = Shards(cache_home() / "images", "encoding images", size=256)
    seen, unseen = (
        image_features(encoder, find_images(*places), shards)[0] for places in (given.seen, given.unseen)
    )
    _, needed = candidates.nearest(unseen, TOP)  # (n, 5)
    plain, *readings = encoder.tokenize_texts(
        ["a", *(entry.word.split()[-1] for entry in candidates.entries)]
    )
    in_pieces = torch.tensor([len(reading) > len(plain) for reading in readings])
    rows = []
    for votes in VOTES:
        counts = count_top_candidates(seen, candidates.embeddings.float(), votes)
        for threshold in THRESHOLDS:
            kept = counts >= threshold
            lost = Proportion(int((~kept[needed]).sum()), needed.numel())
            meaningless = Proportion(int((kept & in_pieces).sum()), int(kept.sum()))
            rows.append([str(votes), str(threshold), f"{int(kept.sum()):,}", str(lost), str(meaningless)])
    print(
        f"{len(seen):,} photographs filter {len(candidates):,} candidates, "
        f"{len(unseen):,} others need them; {encoder.name}"
    )
    print(
        markdown_table(
            (
                "votes",
                "min_count",
                "words kept",
                f"of the others' {TOP} nearest, lost",
                "known in pieces only",
            ),
            rows,
        )
    )


if __name__ == "__main__":
    main()

"""a codebook in another language + class folders ──► how often the ten nearest words hold the class's name.

    v2l build-codebook --candidates lexicon --lexicon frequent --language de --images caltech101@train -o de
    python benchmarks/language.py de caltech101@eval benchmarks/caltech101_german.csv

The table of names is translated by hand: the columns `folder` and `names`, alternatives with `;` between. The
second figure counts only images of classes that have a name in the codebook at all. The baseline gives each
image the words of the image half the list away, which is of another class.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch

from v2l.codebook.codebook import Codebook
from v2l.codebook.variety import family
from v2l.encoders import load_encoder
from v2l.encoders.image_features import image_features
from v2l.evaluation.table import markdown_table
from v2l.metrics import Proportion
from v2l.shards import Shards
from v2l.sources import find_images
from v2l.zoo import cache_home

COUNT = 10


def read_names(table: Path) -> dict[str, frozenset[str]]:
    """Per folder the families of its names."""
    with table.open(encoding="utf-8", newline="") as lines:
        return {
            row["folder"]: frozenset(map(family, row["names"].split(";"))) for row in csv.DictReader(lines)
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path, help="what v2l build-codebook wrote")
    parser.add_argument("place", help="folders of classes")
    parser.add_argument("names", type=Path, help="CSV: folder,names")
    given = parser.parse_args()
    codebook, names = Codebook.load(given.build / "global"), read_names(given.names)
    files = [file for file in find_images(given.place) if file.parent.name in names]
    features, unreadable = image_features(
        load_encoder(codebook.source.encoder), files, Shards(cache_home() / "images", "encoding images")
    )
    files = [file for file in files if file not in unreadable]
    rows = codebook.nearest_varied(features, COUNT)[1]
    found = [{codebook.families[row] for row in image} for image in rows.tolist()]
    wanted = [names[file.parent.name] for file in files]
    half = len(found) // 2
    others = found[half:] + found[:half]
    entries = set(codebook.families)
    spelled = [bool(some & entries) for some in wanted]
    named = [bool(some & words) for some, words in zip(wanted, found, strict=True)]
    luck = sum(bool(some & words) for some, words in zip(wanted, others, strict=True))
    print(
        f"{len(codebook):,} entries; {sum(bool(some & entries) for some in names.values())} of {len(names)}"
    )
    print("classes have a name among them")
    rows_of_table = [
        ["all images", str(Proportion(sum(named), len(named)))],
        ["images of classes with an entry", str(Proportion(sum(named), sum(spelled)))],
        ["all images, words of another image", str(Proportion(luck, len(named)))],
    ]
    print(markdown_table([f"a name among {COUNT} words", "share"], rows_of_table))
    for index in torch.linspace(0, len(files) - 1, 12).long().tolist():
        words = ", ".join(codebook.entries[row].word for row in rows[index].tolist())
        print(f"{files[index].parent.name}: {words}")


if __name__ == "__main__":
    main()

"""nonsense words spelled like class names ──► how near the encoder puts them: spelling against meaning.

    python benchmarks/look_alikes.py [--codebook DIR] [--seed 0]

Each name of an ImageNet class gets two of its letters replaced ("beagle", "beazfe"). The nonsense word has no
meaning, so nothing but its spelling makes it near to the class. The more words of the codebook are nearer to the
class's vector, the less the spelling decides. The vectors of classes
and words are those of the names, of the names with their definitions, or the means of both.
"""

from __future__ import annotations

import argparse
import string
from pathlib import Path
from random import Random

import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

from v2l.codebook.codebook import Codebook
from v2l.encoders import load_encoder
from v2l.encoders.base import PHOTO_TEMPLATE
from v2l.encoders.conse import CLASS_TEXTS
from v2l.evaluation.table import markdown_table
from v2l.tokenizers.grid.model import SHIPPED


def nonsense(name: str, random: Random) -> str:
    """The name with two of its letters replaced; the first letter stays."""
    letters = list(name)
    places = [place for place, letter in enumerate(letters) if letter.isalpha() and place]
    for place in random.sample(places, min(2, len(places))):
        letters[place] = random.choice(string.ascii_lowercase.replace(letters[place].lower(), ""))
    return "".join(letters)


def word_vectors(codebook: Codebook, definitions: str) -> torch.Tensor:
    """(V, D) vectors of the words, embedded anew with or without their definitions, unit length."""
    encoder = load_encoder("conse")
    named = [PHOTO_TEMPLATE[0].format(entry.word) for entry in codebook.entries]
    defined = [
        f"{text}, {entry.definition}" if entry.definition else text
        for text, entry in zip(named, codebook.entries, strict=True)
    ]
    texts = {"none": [named], "with": [defined], "mean": [named, defined]}[definitions]
    total = sum((encoder.encode_texts(some) for some in texts), torch.zeros(len(named), encoder.dim))
    return torch.nn.functional.normalize(total, dim=-1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codebook", type=Path, default=SHIPPED / "global")
    parser.add_argument("--words", type=int, default=2000, help="words of the codebook, drawn by the seed")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    codebook, random = Codebook.load(given.codebook), Random(given.seed)
    size = len(codebook)
    codebook = codebook.select(random.sample(range(size), min(given.words, size)))
    false_names = [nonsense(name, random) for name in IMAGENET_CLASSNAMES]
    rows = []
    for definitions in CLASS_TEXTS:
        encoder = load_encoder(f"conse:{definitions}")
        classes = encoder.class_vectors
        false = encoder.encode_texts([PHOTO_TEMPLATE[0].format(name) for name in false_names])
        cosines = (classes * false).sum(dim=-1)  # (1000,)
        ranks = ((classes @ word_vectors(codebook, definitions).T) > cosines[:, None]).sum(dim=-1).float()
        share = ranks / len(codebook)
        rows.append(
            [definitions, f"{cosines.mean():.3f}", f"{share.mean():.3%}", f"{share.mean() * size:.0f}"]
        )
    head = ["definitions", "cosine of nonsense and class", "words nearer, mean share", f"of {size:,} words"]
    print(f"{len(false_names):,} classes, {len(codebook):,} words drawn by seed {given.seed}\n")
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main()

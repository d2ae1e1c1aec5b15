"""a folder of classes ──► what the start of a projector names before any training, without the LLM's help.

    python benchmarks/choices/adapter_start.py FOLDER [--classes 53] [--seed 0] [--ridge 1]

One soft token an image, of the folder's train part. Every fifth image is held out, and so are all images of the
classes that are not among --classes. A soft token names the class, of 20, whose name has the nearest mean of the
LLM's input embeddings, about the mean of all words. Maps from the joint space are compared: mixtures of the
embeddings of the nearest words, of all and of the most frequent ones, and a linear map that ridge regression fits
to all words; each alone, and with the map from the features that is fitted to what it leaves.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from wordfreq import zipf_frequency

from v2l.captions import CaptionedImage
from v2l.datasets import ClassFolder
from v2l.metrics import Proportion
from v2l.pipeline.pipeline import Pipeline
from v2l.tokenizers.adapters.fitted import SHARPNESS
from v2l.tokenizers.adapters.ridge import RidgeFit
from v2l.training.recipes.adapter_data import CaptionedFeatures, read_features
from v2l.training.recipes.adapter_words import word_embeddings

CHOICES, EVERY = 20, 5
FREQUENT = 8000  # words of a smaller mixture
WORD_RIDGE = 1e-3  # of the linear map
TEMPERATURES = (0.1, 0.05, SHARPNESS, 0.01)


def fitted(rows: Tensor, targets: Tensor, ridge: float) -> nn.Linear:
    """The linear map of a ridge regression."""
    layer, fit = nn.Linear(rows.shape[1], targets.shape[1]), RidgeFit(rows.shape[1], targets.shape[1])
    fit.add(rows, targets)
    fit.solve(layer, ridge)
    return layer


def named(soft: Tensor, truth: Tensor, group: list[int], names: Tensor, centre: Tensor) -> Proportion:
    """How many soft tokens (n, width) are nearest to their own name, of `CHOICES` names of a group."""
    cosines, random = normalize(soft - centre, dim=-1) @ normalize(names - centre, dim=-1).T, Random(1)
    right = 0
    for row, own in zip(cosines, truth.tolist(), strict=True):
        others = [place for place in group if place != own]
        choices = [own, *random.sample(others, min(CHOICES - 1, len(others)))]
        right += int(row[choices].argmax() == 0)
    return Proportion(right, len(truth))


def label_places(data: CaptionedFeatures) -> Tensor:
    """(n,) int64, the class of each image."""
    numbers = {name: number for number, name in enumerate(data.classes)}
    return torch.tensor([numbers[image.label] for image in data.images])


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", type=int, default=53)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ridge", type=float, default=1.0)
    given = parser.parse_args()
    pipeline = Pipeline.load(device="cpu")
    encoder, llm, book = pipeline.joint_encoder, pipeline.llm, pipeline.tokenizer.global_codebook
    classes = ClassFolder.load(given.folder, "train").classes
    images = [CaptionedImage(file, label=name) for name, files in classes.items() for file in files]
    data = read_features(encoder, images)
    features = torch.stack([one.float().mean(dim=(0, 1)) for one in data.features])  # (n, C)
    joint, truth, places = encoder.to_joint_space(features), label_places(data), torch.arange(len(features))
    names = word_embeddings(llm, data.classes)[1]
    words, vectors = word_embeddings(llm, book.words)[1], book.embeddings.float()
    shown = Random(given.seed).sample(range(len(data.classes)), given.classes)
    others = sorted(set(range(len(data.classes))) - set(shown))
    is_shown = torch.isin(truth, torch.tensor(shown))
    held = places % EVERY == 0
    starts = {"linear map": fitted(vectors, words, WORD_RIDGE)(joint)}
    frequent = torch.tensor([zipf_frequency(word, "en") for word in book.words]).argsort(descending=True)
    for some, temperature in [*((frequent, one) for one in TEMPERATURES), (frequent[:FREQUENT], SHARPNESS)]:
        shares = (joint @ normalize(vectors[some], dim=-1).T / temperature).softmax(dim=-1)
        starts[f"mixture of {len(some):,} words, temperature {temperature}"] = shares @ words[some]
    print(
        f"{len(shown)} fitted classes, {int((is_shown & held).sum())} held-out images; {len(others)} others"
    )
    for title, start in starts.items():
        seen = is_shown & ~held
        rest = fitted(features[seen], (names[truth] - start)[seen], given.ridge)(features)
        for name, soft in ((title, start), (f"{title}, with the map from features", start + rest)):
            centre = words.mean(dim=0)
            own = named(soft[is_shown & held], truth[is_shown & held], sorted(shown), names, centre)
            new = named(soft[~is_shown], truth[~is_shown], others, names, centre)
            print(f"{name:72s} fitted {own}, others {new}")


if __name__ == "__main__":
    main()

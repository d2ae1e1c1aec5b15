"""an adapter before training ──► the same with the words of its mixture, and its linear map fitted."""

from __future__ import annotations

import torch

from v2l.tokenizers.adapters.fitted import FittedTokenizer
from v2l.tokenizers.adapters.ridge import RidgeFit
from v2l.training.recipes.adapter_data import Examples
from v2l.training.recipes.adapter_models import AdapterModels
from v2l.training.recipes.adapter_words import word_embeddings

FEATURE_RIDGE = 1.0  # chosen on images of Caltech-101's train part that the fit had not seen
FIT_BATCH = 64  # images at a time; one in parts has up to ten views


def fit_maps(adapter: FittedTokenizer, models: AdapterModels, examples: Examples) -> None:
    """Prepare both maps where the encoder is."""
    adapter.to(models.encoder.device)
    learn_words(adapter, models)
    fit_to_captions(adapter, models, examples)


def learn_words(adapter: FittedTokenizer, models: AdapterModels) -> None:
    """Give the mixture all words of the codebook."""
    _, embeddings = word_embeddings(models.llm, models.codebook.words)
    adapter.network.from_joint.learn(models.codebook.embeddings, embeddings / adapter.adapter.scale)


@torch.no_grad()
def fit_to_captions(adapter: FittedTokenizer, models: AdapterModels, examples: Examples) -> None:
    """Fit the map from features to what the words of an image's captions have beyond its joint space.

    Every field of an image, and of all its parts, has the same target: the mean input embedding of its
    captions, or of the name of its class.
    """
    data, settings = examples.data, adapter.adapter
    texts = [" ".join(image.captions) or image.label for image in data.images]
    distinct = sorted(set(texts))
    rows = {text: row for row, text in enumerate(distinct)}
    targets = word_embeddings(models.llm, distinct)[1] / settings.scale  # (T, width)
    fit = RidgeFit(settings.channels, settings.width)
    for start in range(0, len(examples.places), FIT_BATCH):
        features, owners = data.views(examples.places[start : start + FIT_BATCH])
        fields = adapter.fields(features)  # (b, N, C)
        known = adapter.network.from_joint(adapter.joint(fields)).cpu()  # (b, N, width)
        wanted = targets[[rows[texts[place]] for place in owners]][:, None]
        fit.add(fields.flatten(0, 1), (wanted - known).flatten(0, 1))
    fit.solve(adapter.network.from_features, FEATURE_RIDGE)

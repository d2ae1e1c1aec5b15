"""settings + images ──► the recipe of the selection (LaVIT), before its first step."""

from __future__ import annotations

import torch

from v2l.progress import Progress, silent
from v2l.tokenizers.selection.model import SelectionTokenizer
from v2l.tokenizers.selection.settings import SelectionConfig
from v2l.training.recipes.patch_data import patch_features
from v2l.training.recipes.patch_run import PatchModels, PatchRun
from v2l.training.recipes.selection import SelectionRecipe, fit_draft, words_of_patches


def selection_recipe(
    config: SelectionConfig, settings: PatchRun, models: PatchModels, progress: Progress = silent
) -> SelectionRecipe:
    """Encode the images, choose the words, and build the network.

    Args:
        config: sizes, weights, schedule.
        settings: data and places.
        models: the frozen ones.
        progress: called while images are encoded.

    Raises:
        V2LError: no readable image.
    """
    namer, processes = models.namer, models.processes
    encoder = namer.joint_encoder(processes.device)
    features = patch_features(encoder, settings.images, config.network.side, progress)
    rows = words_of_patches(namer.codebook, encoder, features, config.network.words_used)
    torch.manual_seed(settings.seed)
    tokenizer = SelectionTokenizer(config.network, features.rows.shape[-1], rows, namer)
    recipe = SelectionRecipe(tokenizer.to(processes.device), features, config, processes, settings.seed)
    if config.network.draft:
        fit_draft(recipe)
    return recipe

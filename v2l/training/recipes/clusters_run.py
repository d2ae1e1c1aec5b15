"""settings + images ──► the recipe of merger and detokenizer (SeTok), before its first step."""

from __future__ import annotations

import torch

from v2l.perceptual import load_perceptual
from v2l.progress import Progress, silent
from v2l.tokenizers.clusters.model import ClusterTokenizer
from v2l.tokenizers.clusters.settings import ClusterConfig, TrainedSettings
from v2l.training.recipes.cluster_data import cluster_images
from v2l.training.recipes.clusters import ClusterRecipe
from v2l.training.recipes.patch_run import PatchModels, PatchRun


def cluster_recipe(
    config: ClusterConfig, settings: PatchRun, models: PatchModels, progress: Progress = silent
) -> ClusterRecipe:
    """Encode and divide the images, and build the network.

    Args:
        config: clusters, sizes, weights, schedule.
        settings: data and places.
        models: the frozen ones.
        progress: called while images are encoded.

    Raises:
        V2LError: no readable image, or the perceptual network is not on this machine.
    """
    namer, processes = models.namer, models.processes
    perceptual = load_perceptual(config.training.perceptual, processes.device)
    images = cluster_images(namer, settings.images, config, processes.device, progress)
    torch.manual_seed(settings.seed)
    channels, joint_width = images.features.rows.shape[-1], namer.codebook.embeddings.shape[1]
    sizes = TrainedSettings(config.network, channels, joint_width)
    tokenizer = ClusterTokenizer(config.clusters, namer, sizes).to(processes.device)
    return ClusterRecipe(tokenizer, images, config, perceptual, processes, settings.seed)

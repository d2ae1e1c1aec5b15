"""settings + images ──► the recipe of the region encoder (Groma), before its first step."""

from __future__ import annotations

import torch

from v2l.errors import V2LError
from v2l.progress import Progress, silent
from v2l.tokenizers.regions.model import RegionTokenizer, TrainedRegions
from v2l.tokenizers.regions.settings import RegionConfig
from v2l.training.recipes.patch_recipe import HELD_OUT
from v2l.training.recipes.patch_run import PatchModels, PatchRun
from v2l.training.recipes.region_data import draw_boxed, region_examples
from v2l.training.recipes.regions import RegionRecipe


def region_recipe(
    config: RegionConfig, settings: PatchRun, models: PatchModels, progress: Progress = silent
) -> RegionRecipe:
    """Draw canvases and boxes, encode them, and build the network.

    Args:
        config: sizes, schedule, number of canvases.
        settings: data and places.
        models: the frozen ones.
        progress: called while canvases are encoded.

    Raises:
        V2LError: too few canvases to hold one out, no readable image, or an encoder without feature maps.
    """
    namer, processes, training = models.namer, models.processes, config.training
    if training.canvases < HELD_OUT:
        raise V2LError(f"got training.canvases = {training.canvases}", f"{HELD_OUT} and more")
    encoder = namer.joint_encoder(processes.device)
    drawn = draw_boxed(settings.images, training.canvases, training.boxes, settings.seed)
    examples = region_examples(encoder, drawn, config.network.levels, config.network.pooled, progress)
    torch.manual_seed(settings.seed)
    trained = TrainedRegions(config.network, examples.channels)
    tokenizer = RegionTokenizer(namer=namer, trained=trained).to(processes.device)
    return RegionRecipe(tokenizer, examples, config, processes, settings.seed)

"""run by torchrun: train SAM's adapter on tiny models, and print the number of processes and a checksum."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from tiny_pipeline import tiny_pipeline

from v2l.image_sets import read_sets
from v2l.training.loop import TrainingLoop
from v2l.training.recipes.adapter import AdapterRun
from v2l.training.recipes.adapter_models import AdapterModels
from v2l.training.recipes.sets import SetTraining

sets, run = map(Path, sys.argv[1:])
pipeline = tiny_pipeline()
models = AdapterModels(pipeline.tokenizer.joint_encoder, pipeline.llm, pipeline.tokenizer.global_codebook)
settings = AdapterRun(run, 1e-2, 4, 1, batch_size=2, save_every=2, log_every=1, watch_every=100)
recipe = SetTraining(4, read_sets(sets), settings).recipe(models)
steps = TrainingLoop(recipe, settings.loop).train(0, lambda *_: None)
weights = torch.cat([parameter.detach().flatten() for parameter in recipe.tokenizer.parameters()])
line = f"{recipe.processes.num_processes} processes, {steps} steps, {weights.double().sum().item()!r}\n"
os.write(1, line.encode())  # in one piece: both processes write

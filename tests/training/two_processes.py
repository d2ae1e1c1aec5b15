"""run by torchrun: train a tiny tokenizer, print how many processes there were and a checksum of the weights of this one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny_tokenizer import FOLDED, TRAINING, tiny_tokenizer

from v2l.datasets import CropSettings
from v2l.images import find_images
from v2l.processes import start_processes
from v2l.training.data import TrainingImages
from v2l.training.trainer import Trainer

samples, run = map(Path, sys.argv[1:])
config = replace(TRAINING, steps=4, adversarial_weight=0.1, quantizer_start=0.25, discriminator_start=0.5, adversarial_start=0.5)
images = TrainingImages(find_images(samples)[:6], torch.zeros(6, 3, dtype=torch.int64), CropSettings(32, (32, 48), True, 0))
world = start_processes("cpu")
trainer = Trainer(tiny_tokenizer(FOLDED, config), images, None, world, run, seed=0)
steps = trainer.train(trainer.resume(), lambda *_: None)
weights = torch.cat([parameter.detach().flatten() for parameter in trainer.tokenizer.parameters()])
print(f"{world.num_processes} processes, {steps} steps, {weights.double().sum().item()!r}", flush=True)

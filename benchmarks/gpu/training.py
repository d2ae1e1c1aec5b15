"""the paper's training step on this device ──► images a second, memory, hours for 100 epochs of ImageNet-1K.

    python benchmarks/gpu/training.py [--mode float32|tf32|bf16|compiled] [--toy]

Network, codebooks, discriminator and losses have the paper's sizes (preset `paper`, 128 px, 32,000 words). The
words' vectors and the VGG16 of LPIPS are random. `compiled` is bf16 with torch.compile.
"""

from __future__ import annotations

import torch
from measure import device, forget_peak, options, peak, seconds
from training_step import GLOBAL_ENTRIES, random_lpips, settings, tokenizer

from v2l.perceptual import LPIPSDistance
from v2l.processes import start_processes
from v2l.training.data import Batch
from v2l.training.loop import update_networks
from v2l.training.recipes.grid_losses import GridObjective

EPOCHS, IMAGES = 100, 1_281_167


def main() -> None:
    given = options(__doc__, mode="float32")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = given.mode == "tf32"
    batch, size, entries, dim = (2, 32, 64, 32) if given.toy else (16, 128, 32_000, 768)
    config = settings("small" if given.toy else "paper", batch)
    generator = torch.Generator().manual_seed(3)
    words = torch.randint(
        0, min(entries, GLOBAL_ENTRIES), (batch, config.model.global_tokens), generator=generator
    )
    half = given.mode in ("bf16", "compiled")
    processes = start_processes("auto" if torch.cuda.is_available() else "cpu", "bf16" if half else "no")
    model = tokenizer(config, entries, dim).to(device())
    if given.mode == "compiled":
        model.encoder.compile()
        model.decoder.compile()
    objective = GridObjective(model, LPIPSDistance(random_lpips().to(device()), "random VGG16"), processes)
    images = torch.rand(batch, 3, size, size, generator=generator)
    parts = objective.parts(Batch(images.to(device()), words.to(device())))
    forget_peak()
    passed = seconds(lambda: update_networks(objective, 0, parts), repeats=1 if given.toy else 5)
    speed = batch / passed
    hours = IMAGES * EPOCHS / speed / 3600
    print(
        f"{given.mode}: batch {batch}, {size} px: {speed:.1f} images/s, peak {peak()}, {EPOCHS} epochs {hours:,.0f} h on one such device"
    )


if __name__ == "__main__":
    main()

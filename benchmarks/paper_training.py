"""the paper's training at full size ──► seconds, operations and memory of a step, on the sample photographs.

    python benchmarks/paper_training.py [--steps 2] [--batch 1] [--crop 128] [--save]
    torchrun --standalone --nproc_per_node 2 benchmarks/paper_training.py

The network, both codebooks (32,000 and 11,908 rows of 768 numbers), the discriminator and every loss have
their full sizes, and all losses are on from the first step. LLaMA-2, CLIP and VGG are not everywhere at hand,
so random weights stand in for them: the codebooks' rows, a small CLIP with 768 numbers a vector, and a VGG16
inside LPIPS. They change only the time that global words take, which is spent once.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import lpips
import open_clip
import torch
from open_clip.model import set_model_preprocess_cfg
from torch.utils.flop_counter import FlopCounterMode

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.config import Config, load_config
from v2l.encoders.openclip import OpenCLIP
from v2l.perceptual import LPIPSDistance
from v2l.processes import start_processes
from v2l.sources import find_images
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.training.data import Batch
from v2l.training.loop import TrainingLoop
from v2l.training.recipes.grid import GridRecipe, loop_settings
from v2l.training.recipes.grid_run import RunSettings, training_images

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"
WIDTH, LOCAL, GLOBAL = 768, 32_000, 11_908
IMAGES, EPOCHS = 1_281_167, 100  # ImageNet-1K
GPUS = {
    "V100, float32": 15.7e12,
    "A100, TF32": 156e12,
    "A100, bfloat16": 312e12,
}  # published peaks, operations a second
REACHED = 0.35  # of the peak, which convolutional networks of these sizes commonly reach


def stand_in_clip() -> OpenCLIP:
    """A CLIP of two blocks whose vectors are as wide as ViT-L/14's."""
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    model = open_clip.CLIP(embed_dim=WIDTH, vision_cfg=vision, text_cfg=text, quick_gelu=True)
    set_model_preprocess_cfg(model, {"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3})
    return OpenCLIP(model, open_clip.SimpleTokenizer(context_length=16), "stand-in CLIP")


def stand_in_codebook(size: int, source: Source) -> Codebook:
    """Random rows of unit length."""
    rows = torch.nn.functional.normalize(
        torch.randn(size, WIDTH, generator=torch.Generator().manual_seed(size)), dim=-1
    )
    return Codebook(tuple(Entry(f"word{row}", (row,)) for row in range(size)), rows.half(), source)


def paper_config(args: argparse.Namespace) -> Config:
    """The preset, with both networks trained from the first step."""
    config = load_config("paper")
    on = {"discriminator_start": 0.0, "adversarial_start": 0.0, "adversarial_ramp": 0.0}
    return replace(
        config,
        training=replace(config.training, steps=args.steps, batch_size=args.batch, crop_size=args.crop, **on),
    )


def build_loop(args: argparse.Namespace, home: Path) -> TrainingLoop[Batch]:
    """The paper's training on the sample photographs."""
    world = start_processes("cpu")
    encoder = stand_in_clip()
    source = Source("stand-in LLaMA-2", "random", encoder.name, encoder.fingerprint)
    torch.manual_seed(0)
    model = V2LTokenizer(
        paper_config(args), stand_in_codebook(LOCAL, source), stand_in_codebook(GLOBAL, source)
    )
    model.use_joint_encoder(encoder)
    settings = RunSettings(find_images(SAMPLES), home, home / "run", "cpu")
    images, _ = training_images(model, encoder, settings, lambda *_: None)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")  # torchvision's, about how lpips calls it
    distance = LPIPSDistance(lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False), "lpips-vgg")
    recipe = GridRecipe(model, images, distance, world)
    return TrainingLoop(recipe, loop_settings(recipe, home / "run"))


class SavedTensors:
    """Counts the bytes that a step keeps for its backward pass, without weights."""

    def __init__(self, *networks: torch.nn.Module) -> None:
        weights = (tensor for network in networks for tensor in (*network.parameters(), *network.buffers()))
        self.weights = {tensor.untyped_storage().data_ptr() for tensor in weights}
        self.storages: dict[int, int] = {}

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.weights:
            self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    @property
    def bytes(self) -> int:
        """All of them."""
        return sum(self.storages.values())


def measured_step(loop: TrainingLoop[Batch], parts: Sequence[Batch]) -> tuple[float, int]:
    """The operations of one step, and the bytes that its forward passes keep."""
    recipe = loop.recipe
    networks = [network.network for network in recipe.networks.values()]
    kept = SavedTensors(recipe.perceptual, *networks)
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor),
    ):
        loop.step(0, parts)
    return counter.get_total_flops(), kept.bytes


def peak_gigabytes() -> float:
    """Of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    """Train a few steps and say what they took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1, help="images a step and a process")
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument(
        "--save", action="store_true", help="write the state and the checkpoint too, and read the checkpoint"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["V2L_HOME"] = folder
        home = Path(folder)
        loop = build_loop(args, home)
        recipe, world = loop.recipe, loop.processes
        first, *rest = recipe.batches(0, args.steps)
        work, kept = measured_step(loop, first)
        seconds = []
        for step, parts in enumerate(rest, start=1):
            start = time.perf_counter()
            terms = loop.step(step, parts)
            seconds.append(time.perf_counter() - start)
        weights = torch.cat([parameter.detach().flatten() for parameter in recipe.tokenizer.parameters()])
        print(
            f"{world.num_processes} processes, {args.steps} steps, {weights.double().sum().item()!r}",
            flush=True,
        )
        if args.save:
            loop.save(args.steps)  # by the main process alone, in its own folder
        if world.is_main_process:
            if args.save:
                print("read again:", V2LTokenizer.from_pretrained(home / "run" / "model", device="cpu").facts)
            report(args, recipe, terms if rest else {}, (seconds, work, kept))


def report(
    args: argparse.Namespace,
    recipe: GridRecipe,
    terms: dict[str, float],
    measured: tuple[list[float], float, int],
) -> None:
    """Figures of a step, and the estimate for GPUs."""
    seconds, work, kept = measured
    trained = sum(parameter.numel() for parameter in recipe.tokenizer.parameters())
    discriminator = recipe.networks["discriminator"].network
    of_discriminator = sum(parameter.numel() for parameter in discriminator.parameters())
    print(
        f"trained: {trained:,} parameters and {of_discriminator:,} of the discriminator; stand-ins: codebook rows, CLIP, VGG16 (random weights)"
    )
    if seconds:
        figures = f"{min(seconds):.1f} s a step of {args.batch} image(s) of {args.crop} px, peak {peak_gigabytes():.1f} GB a process"
        print(f"{figures}; loss {terms['loss']:.3f}")
    operations, held = work / args.batch, kept / args.batch
    print(
        f"{work / 1e9:,.0f} GFLOP a step; an image {operations / 1e9:,.0f} GFLOP, and {held / 1e6:,.0f} MB kept for the backward pass"
    )
    rows = LOCAL + GLOBAL + LOCAL  # both codebooks, and the projected one
    steady = (
        16 * (trained + of_discriminator) + 4 * rows * WIDTH
    ) / 1e9  # four bytes each: weights, gradients, two moments
    print(
        f"memory of a GPU: {steady:.1f} GB and {held / 1e9:.2f} GB an image; with 8 images {steady + 8 * held / 1e9:.0f} GB"
    )
    for name, peak in GPUS.items():
        hours = operations * IMAGES * EPOCHS / (REACHED * peak) / 3600
        print(
            f"{EPOCHS} epochs of ImageNet-1K, {REACHED:.0%} of the peak of {name}: {hours:,.0f} GPU hours, {hours / 32:,.0f} hours on 32"
        )


if __name__ == "__main__":
    main()

"""a seed ──► a real CLIP of open_clip, two blocks deep and 16 wide, saved as a folder that
`openclip:local-dir:` loads."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from v2l.encoders import JointEncoder, load_encoder

ARCHITECTURE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 2,
    },  # the vocabulary of CLIP's tokenizer
}


def write_tiny_clip(folder: Path, seed: int = 0, quick_gelu: bool = False, weights: bool = True) -> str:
    """Write random weights and their description; returns the name that loads them."""
    architecture = ARCHITECTURE | {"quick_gelu": quick_gelu}
    torch.manual_seed(seed)
    model = open_clip.CLIP(**architecture)
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": architecture}), encoding="utf-8")
    if weights:
        with torch.no_grad():
            model.token_embedding.weight.mul_(
                20
            )  # as CLIP starts, all texts are nearly one: these differ clearly
        save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return f"openclip:local-dir:{folder}"


def tiny_encoder(folder: Path, seed: int = 0, quick_gelu: bool = False) -> JointEncoder:
    """The tiny CLIP, by the way that every encoder comes: its name."""
    return load_encoder(write_tiny_clip(folder, seed, quick_gelu), device="cpu")

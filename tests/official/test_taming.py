"""A released VQGAN checkpoint, read without running anything in it, gives what taming's own model gives."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from v2l.config import load_config
from v2l.errors import V2LError
from v2l.official.taming import convert_taming
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.vqgan.model import VQGANTokenizer

NETWORK = {
    "double_z": False,
    "z_channels": 32,
    "resolution": 32,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 1, 2],
    "num_res_blocks": 2,
    "attn_resolutions": [8],
    "dropout": 0.0,
}


def rearrange(tensor: torch.Tensor, pattern: str) -> torch.Tensor:
    """einops' function for permutations, "b c h w -> b h w c"."""
    before, after = (side.split() for side in pattern.split("->"))
    return tensor.permute(*(before.index(axis) for axis in after))


def taming_model(network: dict[str, Any], codes: int, width: int) -> Any:
    """taming's own class, with random weights of ordinary size."""
    # Two imports of its file are not installed here; the class needs one function of each.
    main, einops = ModuleType("taming.main"), ModuleType("einops")
    main.__dict__["instantiate_from_config"] = lambda config: nn.Identity()
    einops.__dict__["rearrange"] = rearrange
    sys.modules.setdefault("taming.main", main)
    sys.modules.setdefault("einops", einops)
    from taming.models.vqgan import VQModel

    torch.manual_seed(0)
    return VQModel(network, {}, codes, width).eval()


@pytest.fixture(scope="module")
def model() -> Any:
    made = taming_model(NETWORK, codes=20, width=16)
    images = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():  # codes at features, so that many of them are used
        features = made.quant_conv(made.encoder(images)).flatten(2)[0].T  # (80, 16)
        made.quantize.embedding.weight.copy_(features[::4])
    return made


@pytest.fixture(scope="module")
def checkpoint(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Lightning wrote the release: training state and a class beside the weights."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    path = tmp_path_factory.mktemp("taming") / "last.ckpt"
    losses = {"loss.discriminator.main.0.weight": torch.zeros(4), "loss.perceptual_loss.lin0": torch.zeros(4)}
    callbacks = {ModelCheckpoint: {"monitor": "val/rec_loss", "best_model_score": torch.tensor(0.3)}}
    weights = {**model.state_dict(), **losses}
    torch.save({"epoch": 3, "callbacks": callbacks, "state_dict": weights, "optimizer_states": []}, path)
    return path


def test_codes_and_images_are_those_of_tamings_own_model(
    model: Any, checkpoint: Path, tmp_path: Path
) -> None:
    convert_taming(checkpoint, tmp_path / "vqgan")
    ours = load_tokenizer(tmp_path / "vqgan", device="cpu")
    images = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        quantized, _, (_, _, indices) = model.encode(images * 2 - 1)
        decoded = model.decode(quantized)
        assert isinstance(ours, VQGANTokenizer)
        tokens = ours.encode(images, crop=False)
        assert tokens.ids is not None
        assert torch.equal(tokens.ids.flatten(), indices.flatten())
        assert len(tokens.ids.unique()) > 3
        assert torch.allclose(ours.decode(tokens), ((decoded + 1) / 2).clamp(0, 1), atol=1e-5)


def test_the_preset_has_the_names_and_shapes_of_the_imagenet_release() -> None:
    network = {**NETWORK, "z_channels": 256, "resolution": 256, "ch": 128, "ch_mult": [1, 1, 2, 2, 4]}
    with torch.device("meta"):
        theirs = taming_model({**network, "attn_resolutions": [16]}, codes=1024, width=256).state_dict()
        ours = VQGANTokenizer(load_config("vqgan-paper")).state_dict()
    wanted = {name.replace("quantize.embedding.weight", "quantizer.codebook") for name in theirs}
    assert set(ours) - {"quantizer.dead_codes.idle"} == wanted
    for name in wanted - {"quantizer.codebook"}:
        assert ours[name].shape == theirs[name].shape
    assert sum(tensor.numel() for name, tensor in theirs.items() if name.startswith("encoder")) == 29_298_176


class RunsCode:
    """What a hostile file holds."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("true",)


def test_a_file_that_would_run_code_is_refused_by_name(checkpoint: Path, tmp_path: Path) -> None:
    torch.save(
        {"state_dict": torch.load(checkpoint, weights_only=False)["state_dict"], "x": RunsCode()},
        tmp_path / "bad.ckpt",
    )
    with pytest.raises(V2LError, match="system"):
        convert_taming(tmp_path / "bad.ckpt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_model_and_a_missing_weight_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    weights = torch.load(checkpoint, weights_only=False)["state_dict"]
    gumbel = {name: tensor for name, tensor in weights.items() if not name.startswith("quantize")}
    torch.save({"state_dict": gumbel}, tmp_path / "gumbel.ckpt")
    with pytest.raises(V2LError, match="no Gumbel quantizer"):
        convert_taming(tmp_path / "gumbel.ckpt", tmp_path / "out")
    weights.pop("decoder.norm_out.weight")
    torch.save({"state_dict": weights}, tmp_path / "less.ckpt")
    with pytest.raises(V2LError, match=r"1 missing \(decoder.norm_out.weight\)"):
        convert_taming(tmp_path / "less.ckpt", tmp_path / "out")

"""An adapter makes a new LLM; the frozen one stays bit-equal, and is whole again after training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_llm import tiny_llm
from torch import Tensor

from v2l.checkpoint import load_tensors, read_manifest
from v2l.errors import V2LError
from v2l.llm import FrozenLLM, GenerationConfig
from v2l.llm.adapters import (
    KIND,
    SCHEMA,
    LoraShape,
    adapted,
    belongs_to,
    fix_visual_factors,
    save_adapter,
    with_adapter,
    without_adapter,
)

CODEBOOK = "of the words in use"
REQUEST = [("a photo of a", [" hat", " red dress"])]


def fresh(tied: bool) -> FrozenLLM:
    llm = tiny_llm()
    if tied:
        llm.model.lm_head.weight = llm.model.model.embed_tokens.weight
    return llm


def features(llm: FrozenLLM, dim: int) -> Tensor:
    return torch.randn(len(llm.model.lm_head.weight), dim, generator=torch.Generator().manual_seed(3))


def trained_adapter(folder: Path, tied: bool = False, visual_dim: int = 0, seed: int = 0) -> Path:
    """An adapter with random weights, as if it were trained, saved."""
    llm = fresh(tied)
    shape = LoraShape(rank=2, alpha=4, visual_dim=visual_dim)
    model = with_adapter(llm, shape)
    if visual_dim:
        fix_visual_factors(model, features(llm, visual_dim))
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    save_adapter(model, folder, shape, belongs_to(llm, CODEBOOK))
    return folder


def copies(llm: FrozenLLM) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in llm.model.state_dict().items()}


@pytest.mark.parametrize(("tied", "visual_dim"), [(False, 0), (True, 0), (False, 3), (True, 3)])
def test_the_frozen_llm_is_bit_equal_and_usable_before_and_after(
    tied: bool, visual_dim: int, tmp_path: Path
) -> None:
    folder, llm = trained_adapter(tmp_path / "adapter", tied, visual_dim), fresh(tied)
    before, modules = copies(llm), [name for name, _ in llm.model.named_modules()]
    names, scores = (llm.name, llm.fingerprint, llm.weights_fingerprint), llm.loglikelihood(REQUEST)
    tuned = adapted(llm, folder, CODEBOOK)
    assert tuned.loglikelihood(REQUEST) != scores
    assert llm.loglikelihood(REQUEST) == scores
    assert all(torch.equal(weight, before[name]) for name, weight in llm.model.state_dict().items())
    assert [name for name, _ in llm.model.named_modules()] == modules
    assert (llm.model.lm_head.weight is llm.model.model.embed_tokens.weight) == tied
    del llm.__dict__["weights_fingerprint"]  # computed again
    assert (llm.name, llm.fingerprint, llm.weights_fingerprint) == names
    assert llm.adapter is None


def test_the_new_llm_has_the_weights_of_the_formula_and_shares_the_others(tmp_path: Path) -> None:
    folder, llm = trained_adapter(tmp_path / "adapter"), fresh(tied=False)
    tuned = adapted(llm, folder, CODEBOOK)
    factors = load_tensors(folder / "adapter.safetensors")
    own, plain = tuned.model.state_dict(), llm.model.state_dict()
    assert own.keys() == plain.keys()
    for name, weight in plain.items():
        layer = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{layer}.lora_A.weight" in factors:
            down, up = (factors[f"{layer}.lora_{part}.weight"].float() for part in "AB")
            torch.testing.assert_close(own[name], weight + 4 / 2 * up @ down)
            assert not torch.equal(own[name], weight)
        else:
            assert own[name].data_ptr() == weight.data_ptr()


def test_the_new_llm_has_a_name_and_fingerprint_of_its_own(tmp_path: Path) -> None:
    llm = fresh(tied=False)
    folders = [trained_adapter(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    first, second = (adapted(llm, folder, CODEBOOK) for folder in folders)
    assert len({one.name for one in (llm, first, second)}) == 3
    assert len({one.weights_fingerprint for one in (llm, first, second)}) == 3
    assert {one.fingerprint for one in (llm, first, second)} == {llm.fingerprint}  # of the vocabulary
    assert first.describe()["adapter"] == first.adapter == str(folders[0])
    assert "adapter" not in llm.describe()
    assert not any(weight.requires_grad for weight in first.model.parameters())
    assert len(first.generate(["a photo"], GenerationConfig(3, ends=False))[0].ids) == 3


def test_an_adapter_loaded_in_inference_mode_still_passes_gradients(tmp_path: Path) -> None:
    folder, llm = trained_adapter(tmp_path / "adapter"), fresh(tied=False)
    with torch.inference_mode():
        tuned = adapted(llm, folder, CODEBOOK)
    assert not any(weight.is_inference() for weight in tuned.model.parameters())


@pytest.mark.parametrize("tied", [False, True])
def test_after_training_the_plain_llm_is_recovered(tied: bool) -> None:
    llm = fresh(tied)
    before, scores = copies(llm), llm.loglikelihood(REQUEST)
    modules = [name for name, _ in llm.model.named_modules()]
    config = llm.model.config.tie_word_embeddings
    model = with_adapter(llm, LoraShape(rank=2, visual_dim=3))
    fix_visual_factors(model, features(llm, 3))
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=1.0)
    for _ in range(2):
        model(input_ids=torch.tensor([[40, 41, 42]])).logits.square().mean().backward()
        optimizer.step()
    assert llm.loglikelihood(REQUEST) != scores  # carries the adapter
    without_adapter(llm, model)
    assert llm.loglikelihood(REQUEST) == scores
    assert llm.model.state_dict().keys() == before.keys()
    assert all(torch.equal(weight, before[name]) for name, weight in llm.model.state_dict().items())
    assert [name for name, _ in llm.model.named_modules()] == modules
    assert (llm.model.lm_head.weight is llm.model.model.embed_tokens.weight) == tied
    assert llm.model.config.tie_word_embeddings == (config or tied)
    assert not any(weight.requires_grad for weight in llm.model.parameters())


def test_an_adapter_of_another_codebook_is_refused(tmp_path: Path) -> None:
    folder = trained_adapter(tmp_path / "adapter")
    with pytest.raises(V2LError, match="another codebook: codebook_fingerprint is of the words in use"):
        adapted(fresh(tied=False), folder, "another")


def test_layers_that_the_llm_lacks_are_refused_with_those_it_has() -> None:
    with pytest.raises(V2LError, match="no layers wq; allowed: down_proj, gate_proj, k_proj, lm_head"):
        with_adapter(fresh(tied=False), LoraShape(targets=("wq",)))


def test_the_manifest_keeps_its_keys(tmp_path: Path) -> None:
    folder = trained_adapter(tmp_path / "adapter", visual_dim=3)
    shape = read_manifest(folder, KIND, SCHEMA)["shape"]
    assert shape.keys() == {"rank", "alpha", "targets", "sight"}
    assert LoraShape.from_manifest(shape) == LoraShape(rank=2, alpha=4, visual_dim=3)


@pytest.mark.parametrize("change", [{"rank": 0}, {"alpha": 0}, {"targets": ()}])
def test_a_shape_without_sense_is_refused(change: dict) -> None:
    with pytest.raises(V2LError, match="1 and more"):
        LoraShape(**change)

"""a frozen LLM + a LoRA adapter ──► a new, adapted LLM; the frozen one stays as it is.

An adapter is a few megabytes in a folder of its own. It is checked against the LLM and the codebook that
it was trained for. Source: LoRA, arXiv 2106.09685.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from v2l.checkpoint import (
    file_hash,
    load_tensors,
    read_manifest,
    save_tensors,
    write_directory,
    write_manifest,
)
from v2l.errors import V2LError
from v2l.llm.frozen import FrozenLLM

KIND, SCHEMA = "adapter", 3  # schemas 1 and 2 were trained on prompts that are no longer used
NAME = "default"  # peft's own name for a single adapter
WEIGHTS = "adapter.safetensors"


@dataclass(frozen=True)
class LoraShape:
    """The size of an adapter.

    Attributes:
        rank: of each low-rank product that is added to a weight.
        alpha: the product is scaled by alpha / rank.
        targets: names of the linear layers that get one.
        visual_dim: width of the tokens' visual features, which the low-rank products of the input embedding
            and of the output head are built from; 0 adds none to these two.
    """

    rank: int = 8
    alpha: int = 64
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    visual_dim: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 1 or not self.targets:
            got = f"got rank {self.rank}, alpha {self.alpha} and targets {', '.join(self.targets) or 'none'}"
            raise V2LError(got, "a rank and an alpha of 1 and more, and at least one layer", "--rank 4")

    def to_manifest(self) -> dict[str, Any]:
        """The shape in a manifest, where `visual_dim` has its older name `sight`."""
        values = asdict(self)
        return values | {"sight": values.pop("visual_dim")}

    @classmethod
    def from_manifest(cls, values: Mapping[str, Any]) -> LoraShape:
        """The shape that `to_manifest` gave, read from JSON."""
        return cls(values["rank"], values["alpha"], tuple(values["targets"]), values.get("sight", 0))


def with_adapter(llm: FrozenLLM, shape: LoraShape) -> PeftModel:
    """Put a new adapter, which adds nothing yet, into the modules of an LLM, for training.

    Only the adapter's weights are trained. The LLM carries the adapter until `without_adapter` is called.

    Raises:
        V2LError: the LLM has no layers of the targets' names.
    """
    ends = untied_ends(llm.model) if shape.visual_dim else []
    config = LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        target_modules=[*shape.targets, *ends],
        rank_pattern=dict.fromkeys(ends, shape.visual_dim),
        alpha_pattern=dict.fromkeys(ends, shape.visual_dim),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(llm.model, config)
    except ValueError as error:
        layers = {
            name.rsplit(".", 1)[-1]
            for name, layer in llm.model.named_modules()
            if isinstance(layer, nn.Linear)
        }
        raise V2LError(
            f"{llm.name!r} has no layers {', '.join(shape.targets)}",
            ", ".join(sorted(layers)),
            f"--targets {min(layers)}",
        ) from error


def without_adapter(llm: FrozenLLM, model: PeftModel) -> None:
    """Take an adapter out of an LLM again: its modules and weights are as before `with_adapter`.

    Args:
        llm: the LLM that was trained.
        model: what `with_adapter` gave for it.
    """
    llm.model = model.unload().requires_grad_(False)
    embedding, head = ends_of(llm.model)
    # `untied_ends` gave the head a copy of the embedding's weight. Nothing trained it, so it is equal still.
    if head.weight is not embedding.weight and torch.equal(head.weight, embedding.weight):
        head.weight = embedding.weight
        set_tied(llm.model, True)


def untied_ends(model: PreTrainedModel) -> list[str]:
    """The module names of the input embedding and of the output head.

    A head that shares its weight with the embedding gets a copy of its own first, because each of the two
    gets its own low-rank product.
    """
    embedding, head = ends_of(model)
    if head.weight is embedding.weight:
        head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
        set_tied(model, False)
    names = {layer: name for name, layer in model.named_modules()}
    return [names[embedding], names[head]]


def ends_of(model: PreTrainedModel) -> tuple[Any, Any]:
    """The input embedding and the output head."""
    output: Any = model.get_output_embeddings  # not typed
    return model.get_input_embeddings(), output()


def set_tied(model: PreTrainedModel, tied: bool) -> None:
    """Write into the model's settings whether embedding and head share one weight."""
    model.config.get_text_config().tie_word_embeddings = model.config.tie_word_embeddings = tied


def fix_visual_factors(model: PeftModel, visual_features: Tensor) -> None:
    """Freeze LoRA-A of the input embedding and LoRA-B of the output head to visual features of the tokens.

    Only the other factor of each is trained, so that tokens with similar features share what is learned from
    the few that occur in training. The trained factors start at zero: nothing is added yet.

    Args:
        model: what `with_adapter` gave.
        visual_features: (V, visual_dim) float32; V is the number of rows of the input embedding.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    fixed = [embedding.lora_embedding_A[NAME], head.lora_B[NAME].weight]
    trained = [embedding.lora_embedding_B[NAME], head.lora_A[NAME].weight]
    with torch.no_grad():
        for weight, value in zip(fixed, (visual_features.T, visual_features), strict=True):
            weight.copy_(value)
            weight.requires_grad_(False)
        for weight in trained:
            weight.zero_()


def belongs_to(llm: FrozenLLM, codebook: str) -> dict[str, Any]:
    """The metadata that bind an adapter to the LLM's vocabulary and sizes and to the local codebook.

    Args:
        llm: the LLM that is adapted.
        codebook: fingerprint of the codebook whose tokens the adapter learns.
    """
    config = llm.model.config.get_text_config()
    sizes = {
        name: getattr(config, name)
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    }
    return {"llm_fingerprint": llm.fingerprint, "llm_sizes": sizes, "codebook_fingerprint": codebook}


def save_adapter(model: PeftModel, folder: str | Path, shape: LoraShape, facts: Mapping[str, Any]) -> None:
    """Write an adapter as one directory, in half precision.

    Args:
        model: what `with_adapter` gave.
        folder: a new directory, or an older adapter to replace.
        shape: of the adapter.
        facts: metadata: what `belongs_to` gave, the LLM's name, and how the adapter was trained.

    Raises:
        V2LError: the directory cannot be written; an older adapter there stays as it was.
    """
    with write_directory(folder) as draft:
        # Without the embedding layers, which are the LLM's own.
        weights = get_peft_model_state_dict(model, save_embedding_layers=False)
        save_tensors(draft / WEIGHTS, {name: weight.half() for name, weight in weights.items()})
        write_manifest(draft, {"kind": KIND, "schema": SCHEMA, "shape": shape.to_manifest(), **facts})


@torch.inference_mode(mode=False)  # tensors of inference mode could carry no gradients later
def adapted(llm: FrozenLLM, folder: str | Path, codebook: str) -> FrozenLLM:
    """A new LLM: this one with an adapter merged into its weights, W + alpha / rank · B A.

    The given LLM stays bit-equal and usable. The new one shares its tokenizer and every weight that the
    adapter does not change, and has a name and a `weights_fingerprint` of its own.

    Args:
        llm: the LLM that the adapter was trained for.
        folder: what `save_adapter` wrote.
        codebook: fingerprint of the codebook in use.

    Raises:
        V2LError: the adapter is missing or damaged, or belongs to another LLM or codebook.
    """
    manifest = read_manifest(folder, KIND, SCHEMA)
    check_binding(llm, folder, codebook, manifest)
    plain = FrozenLLM(sharing_copy(llm.model), llm.tokenizer, llm.name)
    model = with_adapter(plain, LoraShape.from_manifest(manifest["shape"]))
    set_peft_model_state_dict(model, load_tensors(Path(folder) / WEIGHTS))
    own_targets(model)
    adapter_hash = file_hash(Path(folder) / WEIGHTS)
    tuned = FrozenLLM(model.merge_and_unload(), llm.tokenizer, f"{llm.name} with adapter {adapter_hash[:8]}")
    tuned.adapter, tuned.adapter_hash = str(folder), adapter_hash
    return tuned


def check_binding(llm: FrozenLLM, folder: str | Path, codebook: str, manifest: Mapping[str, Any]) -> None:
    """Refuse an adapter of another LLM or codebook.

    Raises:
        V2LError: naming both values.
    """
    for name, now in belongs_to(llm, codebook).items():
        if manifest[name] != now:
            what = "another codebook" if name == "codebook_fingerprint" else "another LLM"
            raise V2LError(
                f"the adapter {folder} is for {what}: {name} is {manifest[name]}",
                f"{now}, of {llm.name!r} and the checkpoint in use",
                "without --adapter, or v2l train-lora",
            )


def sharing_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of all modules and settings; the weights are the same tensors."""
    tensors = [*model.parameters(), *model.buffers()]
    # deepcopy takes what its memo holds as copied already.
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def own_targets(model: PeftModel) -> None:
    """Give each layer with a low-rank product a copy of its weight, because merging adds to it in place."""
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            base: Any = layer.get_base_layer()
            base.weight = nn.Parameter(base.weight.detach().clone(), requires_grad=False)

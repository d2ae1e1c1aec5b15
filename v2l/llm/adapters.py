"""a frozen LLM + a LoRA adapter ──► the same LLM, tuned: loaded apart, laid over its weights, checked to belong to it (peft's door).

An adapter is a few megabytes beside an LLM that stays as it is on disk. Source: LoRA, arXiv 2106.09685.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.errors import V2LError
from v2l.llm.frozen import FrozenLLM

KIND, SCHEMA = "adapter", 3  # 1 and 2 were tuned to other prompts, which are asked no more
NAME = "default"  # peft's, of the one adapter that there is
WEIGHTS = "adapter.safetensors"


@dataclass(frozen=True)
class LoraShape:
    """What an adapter adds to an LLM.

    Attributes:
        rank: of each added product.
        alpha: its scale is alpha / rank.
        targets: names of the linear layers that get one.
        sight: width of what tells how tokens look, for the word embedding and the head; 0 leaves these two as they are.
    """

    rank: int = 8
    alpha: int = 64
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    sight: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 1 or not self.targets:
            got = f"got rank {self.rank}, alpha {self.alpha} and targets {', '.join(self.targets) or 'none'}"
            raise V2LError(got, "a rank and an alpha of 1 and more, and at least one layer", "--rank 4")


def with_adapter(llm: FrozenLLM, shape: LoraShape) -> PeftModel:
    """The LLM with an adapter that adds nothing yet; only the adapter's weights are trained. The LLM's own modules are used, not copied.

    Raises:
        V2LError: the LLM has no layers of the targets' names.
    """
    ends = ends_of(llm) if shape.sight else []
    config = LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        target_modules=[*shape.targets, *ends],
        rank_pattern=dict.fromkeys(ends, shape.sight),
        alpha_pattern=dict.fromkeys(ends, shape.sight),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(llm.model, config)
    except ValueError as error:
        names = sorted(
            {
                name.rsplit(".", 1)[-1]
                for name, layer in llm.model.named_modules()
                if isinstance(layer, nn.Linear)
            }
        )
        raise V2LError(
            f"{llm.name!r} has no layers {', '.join(shape.targets)}",
            ", ".join(names),
            f"--targets {names[0]}",
        ) from error


def ends_of(llm: FrozenLLM) -> list[str]:
    """Names of the word embedding and of the head, which share no weights afterwards, so that each can have an adapter of its own."""
    embedding, head = llm.model.get_input_embeddings(), llm.model.get_output_embeddings()
    if head.weight is embedding.weight:
        head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
        llm.model.config.get_text_config().tie_word_embeddings = llm.model.config.tie_word_embeddings = False
    names = {layer: name for name, layer in llm.model.named_modules()}
    return [names[embedding], names[head]]


def give_sight(model: PeftModel, visual_features: Tensor) -> None:
    """Fix the first factor of what the word embedding learns, and the last of what the head learns, to how tokens look.

    Tokens that look alike then share what is learned, in reading and in telling, from the few that training shows. Nothing is added yet.

    Args:
        model: what `with_adapter` gave.
        visual_features: (V, sight) float32, V the rows of the word embedding.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    fixed = [embedding.lora_embedding_A[NAME], head.lora_B[NAME].weight]
    learned = [embedding.lora_embedding_B[NAME], head.lora_A[NAME].weight]
    with torch.no_grad():
        for weight, value in zip(fixed, (visual_features.T, visual_features), strict=True):
            weight.copy_(value)
            weight.requires_grad_(False)
        for weight in learned:
            weight.zero_()


def belongs_to(llm: FrozenLLM, codebook: str) -> dict[str, Any]:
    """What an adapter is bound to: the LLM's words and sizes, and the fingerprint of the local codebook.

    Args:
        llm: the LLM that is tuned.
        codebook: fingerprint of the codebook whose tokens it learns.
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
        facts: what `belongs_to` gave, the LLM's name, and how it was trained.

    Raises:
        V2LError: the place cannot be written; an older adapter there stays as it was.
    """
    with write_directory(folder) as draft:
        weights = get_peft_model_state_dict(
            model, save_embedding_layers=False
        )  # the LLM's own are not ours to write
        save_tensors(draft / WEIGHTS, {name: weight.half() for name, weight in weights.items()})
        write_manifest(draft, {"kind": KIND, "schema": SCHEMA, "shape": asdict(shape), **facts})


def adapt(llm: FrozenLLM, folder: str | Path, codebook: str) -> None:
    """Lay an adapter over an LLM, in place.

    Args:
        llm: the LLM that it was trained on.
        folder: what `save_adapter` wrote.
        codebook: fingerprint of the codebook that is in use.

    Raises:
        V2LError: it is missing or damaged, or belongs to another LLM or codebook.
    """
    manifest = read_manifest(folder, KIND, SCHEMA)
    for name, now in belongs_to(llm, codebook).items():
        if manifest[name] != now:
            what = "another codebook" if name == "codebook_fingerprint" else "another LLM"
            got = f"the adapter {folder} is for {what}: {name} is {manifest[name]}"
            raise V2LError(
                got,
                f"{now}, of {llm.name!r} and the checkpoint in use",
                "without --adapter, or v2l train-lora",
            )
    shape = LoraShape(**manifest["shape"] | {"targets": tuple(manifest["shape"]["targets"])})
    tuned = with_adapter(llm, shape)
    set_peft_model_state_dict(tuned, load_tensors(Path(folder) / WEIGHTS))
    llm.model = tuned.merge_and_unload().eval().requires_grad_(False)
    llm.adapter = str(folder)

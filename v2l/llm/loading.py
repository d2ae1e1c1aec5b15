"""a name ──► a frozen LLM: the embedded one, a folder, a GGUF file, or a model of the hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from v2l.device import choose_device, choose_dtype
from v2l.errors import V2LError
from v2l.llm.frozen import FrozenLLM
from v2l.llm.gguf import safetensors_copy
from v2l.zoo import EMBEDDED, embedded_path, hub_folder

TOKENIZER_FILES = ["*.json", "*.model", "*.txt", "*.jinja"]
HUB_FILES = [*TOKENIZER_FILES, "*.safetensors"]
META_SCRIPT = "transformers.models.llama.convert_llama_weights_to_hf"
META_TRANSFORMERS = "4.46.3"  # its wheel holds that script; later ones do not


def load_llm(name: str = "smollm2", device: str = "auto", dtype: str = "auto") -> FrozenLLM:
    """Load an LLM, frozen.

    Args:
        name: "smollm2" (embedded), a Hugging Face folder, a .gguf file, or a name of the hub.
        device: "auto", or a torch device.
        dtype: "auto", "float32", "bfloat16" or "float16".

    Raises:
        V2LError: the model is not on this machine, or is no causal LM that transformers can read.

    Example:
        >>> from v2l.llm import GenerationConfig, load_llm
        >>> llm = load_llm("smollm2", device="cpu")
        >>> llm.generate(["The capital of France is"], GenerationConfig(max_new_tokens=1))[0].text
        ' Paris'
    """
    chosen = choose_device(device)
    # Weights that are made in inference mode could never pass gradients to embeddings.
    with readable(name), torch.inference_mode(mode=False):
        folder = model_folder(name)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=choose_dtype(dtype, chosen))
        return FrozenLLM(model.to(chosen), tokenizer, name)


def load_vocabulary(name: str) -> FrozenLLM:
    """An LLM without its weights, for its vocabulary alone: it can neither score nor generate.

    Args:
        name: as in `load_llm`.

    Raises:
        V2LError: as `load_llm`.
    """
    with readable(name):
        folder = model_folder(name, TOKENIZER_FILES)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        build: Any = AutoModelForCausalLM.from_config
        with torch.device("meta"):
            model = build(AutoConfig.from_pretrained(folder))
    return FrozenLLM(model, tokenizer, name)


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Silence transformers inside, and turn each of its errors into one line.

    Raises:
        V2LError: transformers cannot read the model as a causal LM.
    """
    try:
        with quiet_transformers():
            yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise V2LError(
            f"{name} could not be read as an LLM ({str(error).splitlines()[0]})",
            "a folder that transformers reads as a causal language model with its tokenizer",
            "v2l doctor",
        ) from error


def model_folder(name: str, patterns: list[str] | None = None) -> Path:
    """The folder of an LLM, in a form that transformers loads directly.

    Args:
        name: as in `load_llm`.
        patterns: which files of a model of the hub are downloaded; None is all that `load_llm` reads.

    Raises:
        V2LError: it is not on this machine and cannot be downloaded, or it is in Meta's own format.
    """
    path = embedded_path(name) if name in EMBEDDED else Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return safetensors_copy(path)
    folder = hub_folder(name, patterns or HUB_FILES)
    refuse_meta_format(folder)
    return folder


def refuse_meta_format(folder: Path) -> None:
    """Refuse LLaMA in Meta's own format (`consolidated.*.pth`), with the command that converts it.

    Raises:
        V2LError: the folder has this format.
    """
    shards = len(list(folder.glob("consolidated.*.pth")))
    if not shards or (folder / "config.json").is_file():
        return
    if not (folder / "tokenizer.model").is_file():
        beside = folder.resolve().parent / "tokenizer.model"
        raise V2LError(
            f"{folder} holds LLaMA in Meta's format, without its tokenizer",
            "tokenizer.model beside it",
            f"cp {beside} {folder}",
        )
    raise V2LError(
        f"{folder} holds LLaMA in Meta's format ({shards} consolidated file(s))",
        "a folder in Hugging Face's format, which transformers' own script makes",
        "python3 -m venv convert && convert/bin/pip install "
        f'"transformers=={META_TRANSFORMERS}" torch accelerate sentencepiece protobuf '
        f"&& convert/bin/python -m {META_SCRIPT} --input_dir {folder} --num_shards {shards} "
        f"--llama_version 2 --output_dir {folder}-hf",
    )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no warnings of transformers inside."""
    log: Any = transformers_logging  # its functions are not typed
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()

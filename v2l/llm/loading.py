"""a name ──► a frozen LLM: embedded, a folder, a GGUF file, or a model of the hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

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
META_TRANSFORMERS = "4.46.3"  # whose wheel still holds that script; later ones leave it out


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
    with readable(name):
        folder = model_folder(name)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=choose_dtype(dtype, chosen))
    return FrozenLLM(model.to(chosen), tokenizer, name)


def load_vocabulary(name: str) -> FrozenLLM:
    """The same LLM for those who only ask for its words: its weights stay where they are, and it can neither read nor write.

    Args:
        name: as in `load_llm`.

    Raises:
        V2LError: as `load_llm`.
    """
    with readable(name):
        folder = model_folder(name, TOKENIZER_FILES)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    return FrozenLLM(model, tokenizer, name)


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """No chatter of transformers inside, and one line for whatever it cannot read.

    Raises:
        V2LError: the model is no causal LM that transformers can read.
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
    """Where the files of an LLM are, in a form that transformers loads directly.

    Args:
        name: as in `load_llm`.
        patterns: which files are wanted of a model of the hub; None is all that `load_llm` reads.

    Raises:
        V2LError: it is not on this machine and cannot be fetched, or it is in Meta's own format.
    """
    path = embedded_path(name) if name in EMBEDDED else Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return safetensors_copy(path)
    folder = hub_folder(name, patterns or HUB_FILES)
    refuse_meta_format(folder)
    return folder


def refuse_meta_format(folder: Path) -> None:
    """Say how to convert a folder as Meta gives LLaMA away: `consolidated.*.pth` and `params.json`.

    Raises:
        V2LError: it is such a folder.
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
        f'python3 -m venv convert && convert/bin/pip install "transformers=={META_TRANSFORMERS}" torch accelerate sentencepiece protobuf '
        f"&& convert/bin/python -m {META_SCRIPT} --input_dir {folder} --num_shards {shards} --llama_version 2 --output_dir {folder}-hf",
    )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no warnings of transformers inside."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()

"""a name ──► a frozen LLM: embedded, a folder, a GGUF file, or a model of the hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from v2l.device import choose_device, choose_dtype
from v2l.errors import V2LError
from v2l.llm.frozen import FrozenLLM
from v2l.llm.gguf import safetensors_copy
from v2l.zoo import EMBEDDED, embedded_path, hub_folder

HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


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
    try:
        with quiet_transformers():
            folder = model_folder(name)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=choose_dtype(dtype, chosen))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise V2LError(
            f"{name} could not be read as an LLM ({str(error).splitlines()[0]})",
            "a folder that transformers reads as a causal language model with its tokenizer",
            "v2l doctor",
        ) from error
    return FrozenLLM(model.to(chosen), tokenizer, name)


def model_folder(name: str) -> Path:
    """Where the files of an LLM are, in a form that transformers loads directly.

    Raises:
        V2LError: it is not on this machine and cannot be fetched.
    """
    path = embedded_path(name) if name in EMBEDDED else Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return safetensors_copy(path)
    return hub_folder(name, HUB_FILES)


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

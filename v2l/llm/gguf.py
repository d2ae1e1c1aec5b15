"""a GGUF file ──► a folder of safetensors in the user's cache, made once.

Dequantizing takes about twenty seconds, and reading the copy takes one. Two processes may make it at once:
each writes a folder of its own and renames it; the second one keeps the folder of the first.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from v2l.checkpoint import file_hash
from v2l.files import flush, report_disk, temporary_beside
from v2l.zoo import cache_home

logger = logging.getLogger(__name__)


def safetensors_copy(gguf: Path) -> Path:
    """The folder with the model and tokenizer of a GGUF file; made on the first call.

    Raises:
        V2LError: the cache cannot be written.
    """
    target = cache_home() / "llm" / f"{gguf.stem}-{file_hash(gguf)[:16]}"
    if not target.is_dir():
        logger.info("preparing %s once, in %s", gguf.name, target)
        with report_disk(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        write_copy(gguf, target)
    return target


def write_copy(gguf: Path, target: Path) -> None:
    """Convert into a folder beside the target, then rename it.

    Raises:
        V2LError: the folder cannot be written.
    """
    model = dequantized_model(gguf)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    draft = temporary_beside(target)
    with report_disk(target):
        try:
            model.save_pretrained(draft)
            tokenizer.save_pretrained(draft)
            for path in [*draft.iterdir(), draft]:
                flush(path)
            move_unless_there(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def dequantized_model(gguf: Path) -> PreTrainedModel:
    """The model in float32 without its quantization, which transformers would refuse to save."""
    with contextlib.redirect_stderr(io.StringIO()):  # transformers' progress bars
        quantized = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = quantized.config
    del config.quantization_config
    build: Any = AutoModelForCausalLM.from_config  # not typed
    model: PreTrainedModel = build(config)
    model.load_state_dict(quantized.state_dict())
    return model


def move_unless_there(draft: Path, target: Path) -> None:
    """Rename a folder; when another process has made the target already, that one stays.

    Raises:
        OSError: the rename failed for another reason.
    """
    try:
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise

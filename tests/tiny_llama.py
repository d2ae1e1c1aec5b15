"""a seed ──► a folder as LLaMA-2 comes: a LlamaForCausalLM of two layers and a SentencePiece tokenizer,
both as real as LLaMA's."""

from __future__ import annotations

import io
import json
from pathlib import Path

import sentencepiece
from tiny_llm import TEXT, tiny_model

from v2l.llm import FrozenLLM, load_llm

VOCABULARY = 400  # 3 marks, 256 bytes, the letters of TEXT, and what they join to


def sentencepiece_model() -> bytes:
    """`tokenizer.model`: byte-pair encoding with a token for each byte, spaces as "▁", as LLaMA's was trained."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in TEXT for line in text.split("\n")] * 4),
        model_writer=model,
        vocab_size=VOCABULARY,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        minloglevel=2,
    )
    return model.getvalue()


def write_tiny_llama(folder: Path, context: int = 512) -> Path:
    """The folder in Hugging Face's format."""
    tiny_model(VOCABULARY, end=2, context=context).save_pretrained(folder)
    (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    marks = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "add_bos_token": True,
        "tokenizer_class": "LlamaTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(marks), encoding="utf-8")
    return folder


def tiny_llama(folder: Path) -> FrozenLLM:
    """The frozen LLM, by the way that every LLM comes: its folder."""
    return load_llm(str(write_tiny_llama(folder)), device="cpu")

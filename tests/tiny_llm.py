"""a seed ──► a real LLM of two layers with a real tokenizer of some three hundred tokens: what tests run
instead of billions."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from v2l.llm import FrozenLLM

TEXT = [
    "a photo of a red dress with flowers and a photo of a straw hat on a wooden table",
    "For each of the following input output pairs, output is one of hat or dress or shoes or pants",
    "###\nInput: < sun hat summer straw >\nOutput: hat\nblue jeans denim cloth trousers",
    "Learning a new language and predict the tokens following the examples.",
]


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """As SmolLM2's: byte-level BPE, spaces belong to the next piece, no BOS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=340, special_tokens=["<|end|>"], initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


def sentence_tokenizer() -> PreTrainedTokenizerFast:
    """As LLaMA's: every piece gets its own leading "▁", and a text begins with BOS."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"])
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def tiny_model(vocabulary: int, end: int, context: int = 512, seed: int = 0) -> LlamaForCausalLM:
    """A LLaMA with random weights, large enough for clear preferences."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.4,
        bos_token_id=None,
        eos_token_id=end,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def tiny_llm(context: int = 512, sentence: bool = False) -> FrozenLLM:
    """A frozen LLM of two layers."""
    tokenizer = sentence_tokenizer() if sentence else byte_level_tokenizer()
    return FrozenLLM(tiny_model(len(tokenizer), tokenizer.eos_token_id, context), tokenizer, "tiny")

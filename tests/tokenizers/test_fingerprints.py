"""The fingerprint of a tokenizer changes with its words, although they are none of its weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from tiny_namer import tiny_namer
from tiny_pipeline import tiny_soft_pipeline

from v2l.codebook.codebook import Entry
from v2l.tokenizers.adapters.model import SoftTokenizer
from v2l.tokenizers.adapters.word_table import WordTable
from v2l.tokenizers.slices.model import SliceTokenizer


def test_placed_words_of_another_codebook_have_another_fingerprint() -> None:
    before, namer = SliceTokenizer(namer=tiny_namer()).fingerprint, tiny_namer()
    assert SliceTokenizer(namer=namer).fingerprint == before
    entries = (Entry("another", (0,)), *namer.codebook.entries[1:])
    namer.codebook = replace(namer.codebook, entries=entries)
    assert SliceTokenizer(namer=namer).fingerprint != before


def test_soft_tokens_with_another_word_table_have_another_fingerprint() -> None:
    adapter = tiny_soft_pipeline().tokenizer
    assert isinstance(adapter, SoftTokenizer)
    found, width = {adapter.fingerprint}, adapter.adapter.width
    for words, vectors in ((("a", "b"), torch.ones(2, width)), (("a", "c"), torch.ones(2, width))):
        adapter.table = WordTable(words, ((1,), (2,)), vectors)
        found.add(adapter.fingerprint)
    adapter.table = WordTable(("a", "c"), ((1,), (2,)), torch.zeros(2, width))
    assert len({*found, adapter.fingerprint}) == 4

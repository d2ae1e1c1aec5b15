"""a seed ──► forty words in the space of the tiny colour encoder, for tokenizers of patches and regions."""

from __future__ import annotations

from tiny_pipeline import ColourEncoder

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.tokenizers.word_tagger import WordTagger


def tiny_namer() -> WordTagger:
    """Words w0 … w39 with random vectors, and their encoder, loaded."""
    encoder = ColourEncoder()
    entries = tuple(Entry(f"w{number}", (number,)) for number in range(40))
    source = Source("tiny", "0", encoder.name, encoder.fingerprint)
    codebook = Codebook(entries, encoder.encode_texts([entry.word for entry in entries]), source)
    namer = WordTagger(codebook, encoder.name)
    namer.use_joint_encoder(encoder)
    return namer

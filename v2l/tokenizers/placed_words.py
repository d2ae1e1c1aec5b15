"""parts of an image ──► words: what tokenizers share whose words belong to places in the image.

Their words come from a word tagger, and the codebook of the checkpoint that ships is not copied into theirs:
the manifest of such a checkpoint only names it. A codebook of their own is saved beside the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from v2l.checkpoint import read_manifest
from v2l.codebook.codebook import Codebook, Source
from v2l.config import config_from_dict
from v2l.encoders import JointEncoder
from v2l.encoders.base import fingerprint_of
from v2l.errors import V2LError
from v2l.tokenizers.contract import SCHEMA, ImageTokenizer, LLMVocabulary, TaggedImages
from v2l.tokenizers.registry import DEFAULT, member_named
from v2l.tokenizers.word_tagger import WordTagger

FOLDER = "words"  # of a checkpoint with a codebook of its own
SHIPPED, OWN = "shipped", "own"


class PlacedWordsTokenizer(ImageTokenizer):
    """Images ──► tokens with a layout and a word each; the base of slices, regions, clusters and selections.

    `tagger` stays None, because the words of an image do not come from one vector of the whole image.

    Args:
        namer: gives the words; None is the one that ships.
    """

    def __init__(self, namer: WordTagger | None = None) -> None:
        super().__init__()
        self.namer = namer or shipped_tagger()
        # moves with the module, so that a tokenizer without weights has a device too
        self.register_buffer("place", torch.zeros(0), persistent=False)

    @property
    def joint_encoder(self) -> JointEncoder:
        """The frozen joint encoder, loaded at the first use.

        Raises:
            V2LError: it is not on this machine, or it did not embed the codebook.
        """
        return self.namer.joint_encoder(self.device)

    @property
    def part_namer(self) -> WordTagger:
        """The word tagger, which names any part of an image."""
        return self.namer

    @property
    def vocabulary(self) -> LLMVocabulary:
        """Name and fingerprint of the LLM whose words the codebook holds."""
        source = self.namer.codebook.source
        return LLMVocabulary(source.llm, source.llm_fingerprint)

    def image_words(self, images: Tensor, count: int, selection: str = "nearest") -> TaggedImages:
        """The words of the tokens, highest score first, each once; and the vectors of the whole images."""
        tagged = super().image_words(images, count, selection)
        return replace(tagged, vectors=self.joint_encoder.encode_images(images))

    def describe(self) -> dict[str, str]:
        """Names and fingerprints of the tokenizer and its frozen encoder, for reports."""
        source = self.namer.codebook.source
        return {
            **super().describe(),
            "encoder": source.encoder,
            "encoder_fingerprint": source.encoder_fingerprint,
        }

    @property
    def fingerprint(self) -> str:
        """Hash of weights, settings and codebook."""
        settings = repr(sorted(self.describe().items()))
        return fingerprint_of(self.state_dict(), settings, self.namer.codebook.fingerprint)

    def settings(self) -> dict[str, Any]:
        """Where the words come from, for the manifest; members add their own settings."""
        return {"words": tagger_settings(self.namer)}

    def save_parts(self, folder: Path) -> None:
        """Write the codebook, if it is not the one that ships."""
        if not self.namer.ships:
            self.namer.codebook.save(folder / FOLDER)


@cache
def shipped_codebook() -> Codebook:
    """The global words of the checkpoint that ships, read once."""
    return Codebook.load(member_named(DEFAULT).shipped() / "global")


def shipped_tagger() -> WordTagger:
    """The word tagger of the checkpoint that ships, without the rest of that checkpoint.

    Raises:
        V2LError: the checkpoint is damaged.
    """
    member = member_named(DEFAULT)
    folder = member.shipped()
    config = config_from_dict(read_manifest(folder, member.kind, SCHEMA)["config"], str(folder))
    return WordTagger(shipped_codebook(), config.models.encoder, config.model.word_ranking, ships=True)


def tagger_of(codebook: Path | None) -> WordTagger:
    """The word tagger of a codebook's folder; None is the one that ships.

    Raises:
        V2LError: the codebook is damaged.
    """
    if codebook is None:
        return shipped_tagger()
    words = Codebook.load(codebook)
    return WordTagger(words, words.source.encoder)


def tagger_settings(tagger: WordTagger) -> dict[str, Any]:
    """A word tagger as plain values for a manifest; `load_tagger` reads them."""
    return {
        "codebook": SHIPPED if tagger.ships else OWN,
        "encoder": tagger.encoder_name,
        "ranking": tagger.ranking,
        "source": vars(tagger.codebook.source),
    }


def load_tagger(settings: Mapping[str, Any], folder: Path) -> WordTagger:
    """The word tagger that `tagger_settings` described.

    Args:
        settings: the key `words` of a manifest.
        folder: the checkpoint's directory, for a codebook of its own.

    Raises:
        V2LError: the codebook is damaged, or belongs to another LLM or another encoder.
    """
    shared = settings["codebook"] == SHIPPED
    codebook = shipped_codebook() if shared else Codebook.load(folder / FOLDER)
    if codebook.source != Source(**settings["source"]):
        raise V2LError(
            f"{folder} was made with the words of {Source(**settings['source'])}",
            f"words of {codebook.source}",
            "make the checkpoint again",
        )
    return WordTagger(codebook, settings["encoder"], settings["ranking"], ships=shared)

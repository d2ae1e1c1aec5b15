"""a tokenizer's name, or the kind in a manifest ──► its class, which is imported only when it is needed.

A row is plain data, so that error lines know all names without loading a network. To add a tokenizer:
docs/add-a-tokenizer.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2l.errors import V2LError

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
DEFAULT = "v2l"

NEEDS = {
    "words": "words for a whole image",
    "codes": "codes",
    "grid codes": "a grid of codes that are token ids of the LLM",
    "sentence": "a sentence of the LLM's words that is decoded again",
    "embeddings": "embeddings for the LLM",
    "sets": "soft tokens for a set of images",
    "regions": "regions that a user may choose",
    "decoder": "a decoder",
}
"""What a command can need of a tokenizer, with the phrase that error lines use."""


@dataclass(frozen=True)
class Member:
    """One tokenizer of the family.

    Attributes:
        name: what `--tokenizer` and `v2l.load_tokenizer` take.
        kind: the `kind` of its manifests on disk.
        home: "module:Class", imported when it is first needed.
        gives: what it can be used for, keys of `NEEDS`.
        weights: the directory of its checkpoint that ships with v2l; None: none ships.
    """

    name: str
    kind: str
    home: str
    gives: tuple[str, ...]
    weights: Path | None = None

    def load_class(self) -> Any:
        """The tokenizer's class, a subclass of `v2l.tokenizers.contract.ImageTokenizer`."""
        module, name = self.home.split(":")
        return getattr(importlib.import_module(module), name)

    def shipped(self) -> Path:
        """The directory of its checkpoint that ships with v2l.

        Raises:
            V2LError: none ships.
        """
        if self.weights is None:
            raise V2LError(
                f"no checkpoint of the tokenizer {self.name!r} ships with v2l",
                "a folder that its save_pretrained wrote",
                "train one, then --tokenizer FOLDER",
            )
        return self.weights


_MEMBERS: dict[str, Member] = {}


def register_tokenizer(
    name: str, home: str, gives: Sequence[str], kind: str | None = None, weights: Path | None = None
) -> Member:
    """Add a tokenizer to the family; a second call with the same name replaces the first.

    Args:
        name: what `--tokenizer` takes.
        home: "module:Class".
        gives: keys of `NEEDS`.
        kind: the `kind` of its manifests; the name by default.
        weights: the directory of its checkpoint that ships; None: none ships.

    Raises:
        V2LError: `gives` holds another word, or the kind belongs to another tokenizer.
    """
    unknown = [need for need in gives if need not in NEEDS]
    if unknown:
        raise V2LError(f"the tokenizer {name!r} says that it gives {unknown[0]!r}", ", ".join(NEEDS))
    member = Member(name, kind or name, home, tuple(gives), weights)
    owner = next((other.name for other in _MEMBERS.values() if other.kind == member.kind), name)
    if owner != name:
        raise V2LError(f"the kind {member.kind!r} belongs to the tokenizer {owner!r}", "a kind of its own")
    _MEMBERS[name] = member
    return member


def tokenizer_names(need: str | None = None) -> list[str]:
    """The registered names, or those of the tokenizers that give what is needed (a key of `NEEDS`)."""
    return [name for name, member in _MEMBERS.items() if need is None or need in member.gives]


def member_named(name: str) -> Member:
    """The tokenizer with this name.

    Raises:
        V2LError: there is none, with the names that exist.
    """
    if name not in _MEMBERS:
        raise V2LError(
            f"there is no tokenizer {name!r}",
            f"{', '.join(_MEMBERS)}, a checkpoint's folder, or user/model of the hub",
            f"--tokenizer {DEFAULT}",
        )
    return _MEMBERS[name]


def member_of_kind(kind: object) -> Member | None:
    """The tokenizer whose manifests have this kind, or None."""
    return next((member for member in _MEMBERS.values() if member.kind == kind), None)


register_tokenizer(
    "v2l",
    "v2l.tokenizers.grid.model:V2LTokenizer",
    gives=("words", "codes", "grid codes", "decoder"),
    kind="tokenizer",  # checkpoints written before there was a family have this kind
    weights=WEIGHTS / "small",
)
register_tokenizer("vqgan", "v2l.tokenizers.vqgan.model:VQGANTokenizer", gives=("codes", "decoder"))
register_tokenizer(
    "slices", "v2l.tokenizers.slices.model:SliceTokenizer", gives=("words",), weights=WEIGHTS / "slices"
)
register_tokenizer(
    "groma",
    "v2l.tokenizers.regions.model:RegionTokenizer",
    gives=("words", "regions"),
    weights=WEIGHTS / "groma",
)
register_tokenizer(
    "setok",
    "v2l.tokenizers.clusters.model:ClusterTokenizer",
    gives=("words", "decoder"),
    weights=WEIGHTS / "setok",
)
register_tokenizer(
    "lavit",
    "v2l.tokenizers.selection.model:SelectionTokenizer",
    gives=("words",),
    weights=WEIGHTS / "lavit",
)
register_tokenizer(
    "titok",
    "v2l.tokenizers.latents.model:TiTokTokenizer",
    gives=("codes", "decoder", "sentence"),
    weights=WEIGHTS / "titok",
)
SOFT = ("embeddings", "words")  # what adapters give; the words are those nearest to the soft tokens
register_tokenizer("resampler", "v2l.tokenizers.adapters.resampler:ResamplerTokenizer", gives=SOFT)
register_tokenizer("uhd", "v2l.tokenizers.adapters.sliced:SlicedTokenizer", gives=SOFT)
register_tokenizer("projector", "v2l.tokenizers.adapters.projector:ProjectorTokenizer", gives=SOFT)
register_tokenizer("sea", "v2l.tokenizers.adapters.projector:SeaTokenizer", gives=SOFT)
register_tokenizer("clusters", "v2l.tokenizers.adapters.clustered:ClusteredTokenizer", gives=SOFT)
register_tokenizer("sam", "v2l.tokenizers.adapters.sets:SetTokenizer", gives=(*SOFT, "sets"))

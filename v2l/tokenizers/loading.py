"""a tokenizer's name, or its checkpoint ──► the tokenizer, whichever member of the family it is."""

from __future__ import annotations

from pathlib import Path

from v2l.checkpoint import manifest_kind
from v2l.errors import V2LError
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.registry import DEFAULT, Member, member_named, member_of_kind, tokenizer_names
from v2l.zoo import hub_folder


def load_tokenizer(name: str | Path | None = None, device: str = "auto") -> ImageTokenizer:
    """Load a tokenizer by its name, or from a checkpoint of any tokenizer.

    Args:
        name: a registered name ("v2l"), a directory that `save_pretrained` wrote, or `user/model` on the hub;
            None is "v2l". A registered name comes before a folder with the same name: write "./v2l" for the
            folder. A number of tokens may follow: "titok:32", "runs/titok/model:32".
        device: as in `v2l.device.choose_device`.

    Raises:
        V2LError: no tokenizer has this name or kind, or the checkpoint is missing or damaged.

    Example:
        >>> import v2l
        >>> v2l.load_tokenizer("v2l").describe()["tokenizer"]
        'v2l'
    """
    name, length = split_length(name)
    member, folder = locate_tokenizer(name)
    tokenizer: ImageTokenizer = member.load_class().from_pretrained(folder, device)
    return tokenizer if length is None else tokenizer.with_length(length)


def split_length(name: str | Path | None) -> tuple[str | Path | None, int | None]:
    """A name with a number of tokens behind a colon ──► both; other names stay as they are."""
    before, mark, number = str(name or "").rpartition(":")
    if not mark or not before or not number.isdecimal() or Path(str(name)).is_dir():
        return name, None
    return before, int(number)


def locate_tokenizer(name: str | Path | None = None) -> tuple[Member, Path]:
    """Which tokenizer a name is, and the folder of its checkpoint; arguments and errors as `load_tokenizer`.

    No weights are read.
    """
    name = str(name or DEFAULT)
    if name in tokenizer_names():
        member = member_named(name)
        return member, member.shipped()
    folder = _folder(name)
    return _member_of(folder), folder


def _folder(name: str) -> Path:
    """The local folder of a checkpoint: `name` itself, or the hub's snapshot of `user/model`."""
    if "/" not in name and not Path(name).expanduser().is_dir():
        member_named(
            name
        )  # raises: a bare word is neither a tokenizer's name, nor a folder, nor a name of the hub
    return hub_folder(name, what="checkpoint")


def _member_of(folder: Path) -> Member:
    """The tokenizer that wrote a directory, by the kind in its manifest."""
    kind = manifest_kind(folder, "tokenizer")
    member = member_of_kind(kind)
    if member is None:
        raise V2LError(
            f"{folder} has kind {kind!r}",
            f"the directory of a tokenizer: {', '.join(tokenizer_names())}",
            "another folder, or an import of the package that registers this kind",
        )
    return member

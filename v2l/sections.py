"""plain values ──► a frozen dataclass of settings; the text and the range beside a field check it."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from dataclasses import field
from typing import Any

from v2l.errors import V2LError

SectionT = typing.TypeVar("SectionT")


def ranged(default: float, low: float, high: float, text: str) -> Any:
    """A number between `low` and `high`, both allowed."""
    return field(default=default, metadata={"text": text, "low": low, "high": high})


def choice(default: str, options: tuple[str, ...], text: str) -> Any:
    """One of a few words."""
    return field(default=default, metadata={"text": text, "options": options})


def described(default: Any, text: str) -> Any:
    """Any value of the field's type."""
    return field(default=default, metadata={"text": text})


def section_from_dict(kind: type[SectionT], values: Any, where: str) -> SectionT:
    """Plain values ──► the settings of one member of the family, every key and value checked.

    Args:
        kind: a frozen dataclass whose fields are made by `ranged`, `choice` and `described`.
        values: by field; a missing one takes its own default.
        where: what the values belong to, for errors.

    Raises:
        V2LError: an unknown key, or a value of the wrong type or out of its range.
    """
    if not isinstance(values, dict):
        raise V2LError(f"got {where} = {values!r}", "keys and values")
    fields = {item.name: item for item in _fields(kind)}
    check_keys(values, fields, where)
    hints = typing.get_type_hints(kind)
    return kind(
        **{key: _checked(value, hints[key], fields[key], f"{where}.{key}") for key, value in values.items()}
    )


def _fields(kind: Any) -> tuple[dataclasses.Field[Any], ...]:
    """The fields of a dataclass."""
    return dataclasses.fields(kind)


def check_keys(values: dict[str, Any], known: dict[str, Any], where: str) -> None:
    """Refuse a key that is not among the known ones, with the nearest of them.

    Raises:
        V2LError: there is such a key.
    """
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise V2LError(
                f"got the unknown key {where}.{key}",
                f"{', '.join(known)}",
                f"{near[0]}" if near else "v2l train --help",
            )


def _checked(value: Any, kind: Any, item: dataclasses.Field[Any], where: str) -> Any:
    """One value with its type and range checked; lists become tuples."""
    if typing.get_origin(kind) is tuple:
        of = typing.get_args(kind)[0]
        parts = [_as_meant(part, of) for part in value] if isinstance(value, list | tuple) else []
        if not isinstance(value, list | tuple) or not all(_is_of(part, of) for part in parts):
            raise V2LError(f"got {where} = {value!r}", f"a list of {of.__name__}")
        return tuple(of(part) for part in parts)
    value = _as_meant(value, kind, item.metadata.get("options", ()))
    if not _is_of(value, kind):
        raise V2LError(f"got {where} = {value!r}", f"{kind.__name__}: {item.metadata['text']}")
    if "options" in item.metadata and value not in item.metadata["options"]:
        raise V2LError(f"got {where} = {value!r}", ", ".join(item.metadata["options"]))
    if "low" in item.metadata and not item.metadata["low"] <= value <= item.metadata["high"]:
        raise V2LError(
            f"got {where} = {value!r}",
            f"from {item.metadata['low']:g} to {item.metadata['high']:g}: {item.metadata['text']}",
        )
    return kind(value)


def _as_meant(value: Any, kind: type, options: tuple[str, ...] = ()) -> Any:
    """What YAML reads otherwise than people mean it: 1e-4 as text, and the word no as False."""
    if value is False and "no" in options:
        return "no"
    if not isinstance(value, str) or kind is not float:
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _is_of(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, kind) or (kind is float and isinstance(value, int))

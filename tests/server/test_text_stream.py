"""The text of an answer as it grows."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from v2l.server.text_stream import TextStream


def decode(ids: Iterable[int]) -> str:
    """Bytes as text; halves of characters as the tokenizers write them."""
    return bytes(ids).decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        (" boots and hats ", (), "boots and hats"),
        (" a hat. More", (".",), "a hat"),
        ("aSTSTOPb", ("STOP",), "aST"),
        ("naïve 🎩 hat", ("\n",), "naïve 🎩 hat"),
        ("ends with ST", ("STOP",), "ends with ST"),
        ("", ("x",), ""),
    ],
)
def test_pieces_join_to_the_answer(text: str, stop: tuple[str, ...], expected: str) -> None:
    pieces: list[str] = []
    stream, ids = TextStream(decode, stop, pieces.append), list(text.encode())
    for length in range(1, len(ids) + 1):
        stream.push(ids[:length])
        assert expected.startswith("".join(pieces))
    cut = min((text.index(one) for one in stop if one in text), default=len(text))
    assert stream.finish(text[:cut]) == expected == "".join(pieces)


def test_space_is_kept_where_it_counts() -> None:
    pieces: list[str] = []
    stream = TextStream(decode, (), pieces.append, strip=False)
    stream.push(list(b" a"))
    assert stream.finish(" a ") == " a "
    assert pieces == [" a", " "]

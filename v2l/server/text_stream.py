"""token ids as they are generated ──► new text, without halves of characters and beginnings of stop texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

HALF = "\ufffd"  # what a tokenizer writes for the first bytes of a character


class TextStream:
    """The text of one answer as it grows.

    Args:
        decode: all ids so far ──► their text.
        stop: texts that end the answer.
        emit: called with each piece of new text.
        strip: whether space at its beginning and end is left out, as in `LanguageModel.write_answers`.
    """

    def __init__(
        self,
        decode: Callable[[Iterable[int]], str],
        stop: Sequence[str],
        emit: Callable[[str], None],
        strip: bool = True,
    ) -> None:
        self._decode, self._stop, self._emit, self._strip = decode, stop, emit, strip
        self._sent = ""

    def push(self, ids: Sequence[int]) -> None:
        """Emit what is certain now; `ids` are all ids so far."""
        text = self._decode(ids)
        if any(stop in text for stop in self._stop):
            return  # `finish` has the text up to there
        self._send(self._stripped(text[: self._certain(text)]))

    def finish(self, text: str) -> str:
        """Emit the rest of the whole text, and return all of it."""
        whole = self._stripped(text)
        self._send(whole)
        return whole

    def _stripped(self, text: str) -> str:
        return text.strip() if self._strip else text

    def _send(self, text: str) -> None:
        if text.startswith(self._sent) and len(text) > len(self._sent):
            self._emit(text[len(self._sent) :])
            self._sent = text

    def _certain(self, text: str) -> int:
        """How many characters cannot change any more: no half character, no beginning of a stop text."""
        text = text.rstrip(HALF)
        longest = max(map(len, self._stop), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop):
                return len(text) - length
        return len(text)

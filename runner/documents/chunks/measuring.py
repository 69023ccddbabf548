"""How long a text is: in characters, or in tokens of a tokenizer, counted as the tokenizer itself counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from runner.errors import InputError

#: Characters a token, at which looking for the place where a number of tokens ends begins.
_GENEROUS = 8


class Measure(Protocol):
    """Lengths of texts in some unit."""

    def count(self, text: str) -> int: ...

    def reach(self, text: str, start: int, limit: int) -> int:
        """How far from ``start`` a length of about ``limit`` goes, as an offset; cost is bounded by ``limit``, not by the text."""
        ...

    def back(self, text: str, start: int, stop: int, limit: int) -> int:
        """How far a length of about ``limit`` goes back from ``stop``, at most to ``start``."""
        ...


class Characters:
    """Code points."""

    def count(self, text: str) -> int:
        return len(text)

    def reach(self, text: str, start: int, limit: int) -> int:
        return min(len(text), start + limit)

    def back(self, text: str, start: int, stop: int, limit: int) -> int:
        return max(start, stop - limit)


class Tokens:
    """Tokens of a ``tokenizer.json``, without the special ones that models want at the ends. InputError when the file is none."""

    def __init__(self, tokenizer: Path) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # tokenizers raises Exception itself
            raise InputError(f"not a tokenizer: {error}", where=str(tokenizer), remedy="name a tokenizer.json") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def reach(self, text: str, start: int, limit: int) -> int:
        width = limit * _GENEROUS
        while True:
            offsets = self._offsets(text[start : start + width])
            if len(offsets) > limit:
                return start + offsets[limit - 1][1]
            if start + width >= len(text):
                return len(text)
            width *= 2

    def back(self, text: str, start: int, stop: int, limit: int) -> int:
        offsets = self._offsets(text[start:stop])
        return start if len(offsets) <= limit else start + offsets[-limit][0]

    def _offsets(self, text: str) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return found

"""Cutting a passage to what a prompt has room for: at the end of a sentence, or else of a line, or else of a word."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

import regex

from runner.documents.chunks.outline import Outline
from runner.documents.chunks.packing import Packer

_WORD_ENDS = regex.compile(r"\b", regex.WORD)  # Unicode's word boundaries (UAX 29): a Chinese text has them too
_GENEROUS = 8  # characters a token, at which looking for the place where a prompt is full begins


class _Prompt:
    """Lengths of texts as the tokens of the whole prompt that holds them."""

    def __init__(self, tokens: Callable[[str], int]) -> None:
        self.count = tokens

    def reach(self, text: str, start: int, limit: int) -> int:
        width = max(1, limit) * _GENEROUS
        stop = min(len(text), start + width)
        while stop < len(text) and self.count(text[start:stop]) <= limit:
            stop = min(len(text), stop + width)
        return start + max(0, bisect_right(range(start, stop + 1), limit, key=lambda end: self.count(text[start:end])) - 1)

    def back(self, text: str, start: int, stop: int, limit: int) -> int:
        return start + bisect_left(range(start, stop), -limit, key=lambda begin: -self.count(text[begin:stop]))


def beginning(text: str, tokens: Callable[[str], int], limit: int) -> str:
    """The longest beginning of ``text`` with which a prompt has no more than ``limit`` tokens; "" where no word fits.

    ``tokens`` counts those of the prompt with a text in it.
    """
    spans = Packer(text, Outline(), _Prompt(tokens), limit, 0, sentences=True).pieces()
    start, stop = next(spans, (0, 0))
    while stop > start and not _WORD_ENDS.match(text, stop):
        stop -= 1
    return text[:stop] if stop > start and tokens(text[:stop]) <= limit else ""


def pieces(text: str, tokens: Callable[[str], int], limit: int) -> list[str]:
    """``text`` in pieces with each of which a prompt has no more than ``limit`` tokens. A word that does not fit alone is torn; none
    where not even one written sign fits."""
    found = [text[start:stop] for start, stop in Packer(text, Outline(), _Prompt(tokens), limit, 0, sentences=True).pieces()]
    return found if all(tokens(piece) <= limit for piece in found) else []

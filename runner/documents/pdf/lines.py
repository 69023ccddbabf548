"""A line of text on a page, as any PDF library gives it: words with their places, type size, font."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

Kind = Literal["text", "formula", "table"]

_MONOSPACED = ("mono", "courier", "cmtt", "consol", "inconsolata", "typewriter", "menlo")
_MATHEMATICAL = (
    "cmmi",
    "cmsy",
    "cmex",
    "msbm",
    "msam",
    "math",
    "symbol",
    "eufm",
    "rsfs",
    "txmi",
    "txsy",
    "pxmi",
    "pxsy",
    "mtmi",
    "mtsy",
    "cambria-m",
)
_BOLD = ("bold", "black", "medi", "semibold", "heavy", "cmbx")
#: A word of three letters or more that stands by itself, and is no part of a formula.
_PROSE = re.compile(r"(?<!\S)[(“‘\"']*[^\W\d_\U0001D400-\U0001D7FF]{3,}(?:[-’'][^\W\d_]+)*[.,;:?!)”’\"']*(?!\S)")
#: A gap that is wider than this many times the type size parts two cells of a table.
CELL_GAP = 1.25
#: How far letters reach below and above the line they stand on, in parts of the type size.
DESCENT, ASCENT = 0.22, 0.78


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it begins and ends on its line, in points."""

    text: str
    left: float
    right: float


@dataclass(frozen=True)
class Line:
    """One line. Coordinates are points from the lower left corner of the page as it is read.

    ``bottom`` and ``top`` bound its type, from descent to ascent; ``hyphen`` says that its last word goes on in the next line;
    ``upright`` that it runs as most of its page does; ``kind`` that it is a displayed formula of several levels, or a whole table.
    """

    text: str
    left: float
    right: float
    bottom: float
    top: float
    size: float  # height of the type, in points
    font: str
    hyphen: bool = False
    upright: bool = True
    words: tuple[Word, ...] = ()
    kind: Kind = "text"

    @cached_property
    def bold(self) -> bool:
        return _is_bold(self.font)

    @cached_property
    def prose(self) -> bool:
        """Whether it holds three words that are not parts of a formula."""
        return is_prose(self.text)

    @cached_property
    def cells(self) -> list[tuple[float, float, str]]:
        """Its parts between wide gaps, as (left, right, text); one when there is no such gap."""
        cuts = [n for n in range(1, len(self.words)) if self.words[n].left - self.words[n - 1].right > CELL_GAP * self.size]
        if not cuts:
            return [(self.left, self.right, self.text)]
        parts = [self.words[start:end] for start, end in zip([0, *cuts], [*cuts, len(self.words)], strict=True)]
        return [(part[0].left, part[-1].right, " ".join(word.text for word in part)) for part in parts]

    @cached_property
    def row(self) -> bool:
        """Whether it looks like a row of a table: three cells or more, or three words or more of which half are numbers or dashes."""
        if self.kind != "text":
            return False
        words = self.text.split()
        if len(words) < 3 or "=" in words:
            return False
        if sum(not any(map(str.isalpha, word)) for word in words) >= 0.5 * len(words):
            return True
        parts = [text for _, _, text in self.cells]
        stretched = sum(text.endswith((".", ",")) for text in parts[:-1]) * 2 >= len(parts) - 1  # a line of prose, set wide
        return len(parts) >= 3 and not stretched

    def of_words(self, words: Sequence[Word], hyphen: bool) -> Line:
        """The line cut down to some of its words, which stand next to each other."""
        text = " ".join(word.text for word in words)
        return replace(self, text=text, left=words[0].left, right=words[-1].right, words=tuple(words), hyphen=hyphen)


@dataclass(frozen=True)
class PageLines:
    """The lines of one page, numbered from 1, and its size in points."""

    number: int
    width: float
    height: float
    lines: list[Line]


@functools.lru_cache(4096)
def _is_bold(font: str) -> bool:
    font = font.lower()
    return any(word in font for word in _BOLD)


def is_prose(text: str) -> bool:
    """Whether a text holds three words that are not parts of a formula."""
    return len(_PROSE.findall(text)) >= 3


@functools.lru_cache(4096)
def is_monospaced(font: str) -> bool:
    """Whether a font's name says that all of its characters have the same width."""
    font = font.lower()
    return any(word in font for word in _MONOSPACED)


@functools.lru_cache(4096)
def is_mathematical(font: str) -> bool:
    """Whether a font's name says that it sets formulas."""
    font = font.lower()
    return any(word in font for word in _MATHEMATICAL)


def same_size(p: Line, q: Line) -> bool:
    return abs(p.size - q.size) <= 0.12 * max(p.size, q.size)

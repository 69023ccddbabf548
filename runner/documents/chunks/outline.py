"""The skeleton of a document, as far as cutting it is concerned: where its parts begin, and what must stay whole."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from runner.documents.markdown import spans
from runner.documents.model import Document, Section

#: Ranks of the places at which a part begins: headings from HEADING (level 6) upward, blocks such as paragraphs, items of lists.
ITEM, BLOCK, HEADING = 1, 2, 3
_DEEPEST = 6

_BLANK_LINES = re.compile(r"\n[ \t\r\f\v]*\n\s*")
_ITEM = re.compile(r"^[ \t]*(?:>[ \t]*)*(?:[-*+•]|\(?\d{1,3}[.)]|\(?[a-z][.)])[ \t]+(?=\S)", re.M)
_UNDERLINE = re.compile(r"\s*(?:=+|-{2,})\s*")
_SPACE = re.compile(r"\s*")
#: Rows with bars between their cells, at least two: tables as they stand in the text of a PDF, with a rule below the first or without.
_ROWS = re.compile(r"^(?:[^|\n]*+\|[^\n]*+(?:\n|\Z)){2,}+", re.M)

#: What of a text is markup: all that Markdown knows, the rows of tables alone, nothing.
Marked = Literal["markdown", "rows", "text"]


@dataclass
class Outline:
    """``starts`` are offsets in order, each with its rank; ``wholes`` are spans (code, tables, formulas) to be torn only if too long."""

    starts: list[int] = field(default_factory=list)
    ranks: list[int] = field(default_factory=list)
    wholes: list[tuple[int, int]] = field(default_factory=list)

    def between(self, after: int, limit: int) -> Sequence[tuple[int, int]]:
        """The parts that begin after one place and not after another, with their ranks."""
        low, high = bisect_right(self.starts, after), bisect_right(self.starts, limit)
        return list(zip(self.starts[low:high], self.ranks[low:high], strict=True))

    def rank(self, place: int) -> int:
        """The rank of the part that begins at a place, 0 where none does."""
        number = bisect_left(self.starts, place)
        return self.ranks[number] if number < len(self.starts) and self.starts[number] == place else 0

    def whole_at(self, place: int) -> tuple[int, int] | None:
        """The span around a place that is neither its beginning nor its end."""
        number = bisect_left(self.wholes, (place, 0)) - 1
        return self.wholes[number] if number >= 0 and place < self.wholes[number][1] else None


def outline(document: Document, marked: Marked) -> Outline:
    """The outline of a document whose text is Markdown, or else is text in which blank lines separate paragraphs.

    Its sections are headings in either case. A heading and the first block below it, and headings in a row, are one part.
    """
    marks: dict[int, int] = {}
    wholes: list[tuple[int, int]] = []
    if marked == "rows":
        wholes += [(found.start(), found.start() + len(found.group().rstrip())) for found in _ROWS.finditer(document.text)]
    found_marks = _markdown_marks(document.text, wholes) if marked == "markdown" else _text_marks(document.text, 0, len(document.text))
    for start, rank in found_marks:
        place = line_start(document.text, start)
        if 0 < place < len(document.text):
            marks[place] = max(rank, marks.get(place, 0))
    _put_headings(document, marks)
    starts = sorted(marks)
    return Outline(starts, [marks[start] for start in starts], wholes)


def line_start(text: str, place: int) -> int:
    """Past the white space at a place, but not past the indentation of the line that it leads to or stands at the beginning of."""
    match = _SPACE.match(text, place)
    end = match.end() if match else place
    newline = text.rfind("\n", max(0, place - 1), end)
    return end if newline < 0 and place else newline + 1


def _text_marks(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for blank in _BLANK_LINES.finditer(text, start, end):
        yield blank.end(), BLOCK
    for item in _ITEM.finditer(text, start, end):
        if item.start() == 0 or text[item.start() - 1] == "\n":  # `^` holds at `start` too, which may lie within a line
            yield item.start(), ITEM


def _markdown_marks(text: str, wholes: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    place = 0
    for span in spans(text):
        end = place + len(span.text)
        if span.kind == "prose":
            yield from _text_marks(text, place, end)
        else:
            wholes.append((place, place + len(span.text.rstrip())))
        if span.block:
            yield from ((place, BLOCK), (end, BLOCK))
        place = end


def _put_headings(document: Document, marks: dict[int, int]) -> None:
    """Give headings their ranks, and take away the marks between a heading and what it is the heading of."""
    text, sections = document.text, sorted(document.sections, key=lambda section: section.start)
    parts = sorted(marks)
    places = [line_start(text, section.start) for section in sections]
    first: int | None = None  # the first of headings in a row, when this one goes on with them
    for section, place, following in zip(sections, places, [*places, len(text)][1:], strict=True):
        head = place if first is None else first
        if head != place:
            marks.pop(place, None)
        if head > 0:
            marks[head] = max(HEADING + _DEEPEST - min(max(section.level, 1), _DEEPEST), marks.get(head, 0))
        number = bisect_right(parts, place)
        body = min(following, parts[number] if number < len(parts) else len(text))
        first = None
        if body < len(text) and _only_heading(text[place:body], section):
            if body == following:
                first = head
            else:
                marks.pop(body, None)


def _only_heading(block: str, section: Section) -> bool:
    lines = [line for line in block.split("\n") if line.strip()]
    return len(lines) == 1 or (len(lines) == 2 and _UNDERLINE.fullmatch(lines[1]) is not None) or " ".join(block.split()) == section.title

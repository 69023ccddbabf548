"""From the lines of PDF pages to running text: paragraphs joined, words mended, headings, captions, tables and the title found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from runner.documents.pdf.hyphens import mended
from runner.documents.pdf.lines import Line, PageLines
from runner.documents.pdf.paragraphs import broken_off, heading_like, is_code, separator, space
from runner.documents.pdf.patterns import NAMED, NUMBERED
from runner.documents.pdf.reading_order import Placed, in_order
from runner.documents.pdf.rows import rows
from runner.documents.pdf.tables import tables_joined

#: How many footnotes, figures, tables and captions may stand between the parts of a paragraph.
_FLOATS = 14


@dataclass
class Block:
    """A paragraph, a heading (``level`` from 1), a table, a formula or a run of code; ``parts`` holds its text per page."""

    level: int = 0
    parts: list[tuple[int, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.parts)


def blocks(pages: Sequence[PageLines], outline: Sequence[tuple[int, int, str]] = ()) -> tuple[str, list[Block]]:
    """The title ("" when none stands out) and the blocks of a document in reading order.

    ``outline`` holds the file's bookmarks as (level from 1, page from 1, title); where there are some, they alone make headings.
    """
    placed, body = in_order(pages)
    title = _title(pages, body)
    placed = mended(tables_joined(placed, body))
    runs: list[_Run] = []
    current: _Run | None = None
    for item in placed:
        between = separator(current.lines, item, body) if current else None
        recent = max(0, len(runs) - _FLOATS)
        place = broken_off([run.lines for run in runs[recent:]], item, body) if between is None else None
        if place is not None:  # goes on after a footnote, a figure or a table
            current = _moved(runs, recent + place, item.page)
            between = space(current.lines[-1].line, item.line)
        if current is None or between is None:
            current, between = _Run(), ""
            runs.append(current)
        current.lines.append(item)
        current.separators.append(between)
    marks = _bookmarks(outline)
    return title, [_block(run.lines, run.separators, body, marks, title) for run in runs]


@dataclass
class _Run:
    """The lines of one block to be, and the separator before each."""

    lines: list[Placed] = field(default_factory=list)
    separators: list[str] = field(default_factory=list)


def _moved(runs: list[_Run], place: int, page: int) -> _Run:
    """Move a run behind what stands on earlier pages than where it goes on: footnotes come before it, floats of the next page after it."""
    run = runs.pop(place)
    while place < len(runs) and runs[place].lines[0].page < page:
        place += 1
    runs.insert(place, run)
    return run


def _bookmarks(outline: Sequence[tuple[int, int, str]]) -> dict[tuple[int, str], int]:
    return {(page, _letters(title)): level for level, page, title in outline}


def _letters(text: str) -> str:
    return re.sub(r"[\W\d_]+", "", text.lower())


def _title(pages: Sequence[PageLines], body: float) -> str:
    """The largest type in the upper half of the first page, where it is larger than the body's."""
    if not pages:
        return ""
    upper = [line for line in pages[0].lines if line.upright and line.bottom > 0.5 * pages[0].height]
    first = [line for line in rows(upper, body) if len(line.text) > 3 and line.kind == "text"]
    size = max((line.size for line in first), default=0.0)
    if size < 1.15 * body:
        return ""
    lines = [line for line in first if line.size > 0.95 * size]
    title = " ".join(line.text for line in sorted(lines, key=lambda line: -line.top))
    return title if 4 < len(title) < 250 else ""


def _block(lines: Sequence[Placed], separators: Sequence[str], body: float, marks: dict[tuple[int, str], int], title: str) -> Block:
    block = Block()
    margin = min(item.line.left for item in lines)
    for item, between in zip(lines, separators, strict=True):
        text = _indented(item.line, margin) if is_code(lines[0].line) and len(lines) > 1 else item.line.text
        if block.parts and block.parts[-1][0] == item.page:
            block.parts[-1] = (item.page, block.parts[-1][1] + between + text)
        else:
            block.parts.append((item.page, text))
    whole = block.text
    if title and _letters(whole) == _letters(title) and lines[0].page == 1:
        block.level = 1
    elif marks:
        names = (_letters(NUMBERED.sub("", whole)), _letters(whole))
        level = next((marks[page, name] for name in names for page in _near(lines[0].page) if (page, name) in marks), 0)
        named = NAMED.match(whole) and heading_like(lines[0], body)
        block.level = level + 1 if level and len(lines) <= 3 else 2 if named else 0
    elif len(lines) <= 3 and heading_like(lines[0], body) and not whole.endswith("."):
        numbered = NUMBERED.match(whole)
        block.level = 2 + (numbered.group(1).count(".") if numbered else 0)
    return block


def _near(page: int) -> tuple[int, int, int]:
    return page, page - 1, page + 1


def _indented(line: Line, margin: float) -> str:
    width = (line.right - line.left) / max(1, len(line.text))
    return " " * min(40, round((line.left - margin) / width)) + line.text if width > 0 else line.text

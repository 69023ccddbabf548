"""The reading order of PDF pages: running heads dropped, columns told apart, footnotes last.

PDFium gives lines in the order of the content stream, which is the reading order of most pages but not of title pages and of
pages with floats. Geometry puts those right: the page is cut into lanes (left, right, across) and runs of lines are ordered by
band, lane and height; within a run the order of the stream is kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner.documents.pdf_lines import Line

_PAGE_NUMBER = re.compile(r"^[\W_]*(?:page\s+)?(?:\d{1,4}|[ivxl]{1,6})(?:\s*(?:of|/)\s*\d{1,4})?[\W_]*$", re.I)
#: The dots that lead to a page number in a table of contents.
LEADERS = re.compile(r"(?:\s*\.){4,}")


@dataclass(frozen=True)
class PageLines:
    """The lines of one page and its size in points. ``turned``: its text does not run from left to right, so geometry is left alone."""

    number: int
    width: float
    height: float
    lines: Sequence[Line]

    @property
    def turned(self) -> bool:
        return sum(not line.upright for line in self.lines) * 2 > len(self.lines)


@dataclass(frozen=True)
class Placed:
    """A line at its place in the reading order: ``left`` and ``right`` are the edges of its lane."""

    line: Line
    page: int
    lane: int
    left: float
    right: float
    contents: bool = False  # a line of a table of contents
    note: bool = False  # a footnote

    @property
    def full(self) -> bool:
        return self.line.right >= self.right - 0.15 * (self.right - self.left)


def in_order(pages: Sequence[PageLines]) -> tuple[list[Placed], float]:
    """The lines of all pages in reading order, and the size of the body's type in points."""
    pages = _without_running_heads(pages)
    body = _body_size(pages)
    return [line for page in pages for line in _in_order(page, body)], body


def _without_running_heads(pages: Sequence[PageLines]) -> list[PageLines]:
    """Drop page numbers and lines that stand at the edge of many pages, whatever numbers they hold."""
    seen: Counter[str] = Counter()
    edges = [_edge_lines(page) for page in pages]
    for edge in edges:
        seen.update({_shape(page_line.text) for page_line in edge})
    needed = max(2, min(6, len(pages) // 3))
    kept = []
    for page, edge in zip(pages, edges, strict=True):
        dropped = {id(line) for line in edge if seen[_shape(line.text)] >= needed}
        dropped |= {id(line) for line in page.lines if _PAGE_NUMBER.match(line.text) and _outermost(line, page)}
        kept.append(replace(page, lines=[line for line in page.lines if id(line) not in dropped]))
    return kept


def _outermost(line: Line, page: PageLines) -> bool:
    """Whether a line stands at the edge of the page, or alone above or below all others in its outer quarter."""
    place = line.bottom / page.height
    others = [other for other in page.lines if other is not line]
    if not 0.08 < place < 0.92 or not others:
        return True
    below, above = min(other.bottom for other in others) - line.top, line.bottom - max(other.top for other in others)
    return (place < 0.25 and below > 0.5 * line.size) or (place > 0.75 and above > 0.5 * line.size)


def _edge_lines(page: PageLines) -> list[Line]:
    """The two outermost rows in the upper and in the lower tenth of a page."""
    upper = sorted((line for line in page.lines if line.bottom > 0.9 * page.height), key=lambda line: -line.top)
    lower = sorted((line for line in page.lines if line.top < 0.1 * page.height), key=lambda line: line.bottom)
    found = []
    for rows in (upper, lower):
        heights = sorted({round(line.bottom / 3) for line in rows}, reverse=rows is upper)[:2]
        found += [line for line in rows if round(line.bottom / 3) in heights]
    return found


def _shape(text: str) -> str:
    return re.sub(r"\d+", "#", text.lower())


def _body_size(pages: Sequence[PageLines]) -> float:
    sizes: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _in_order(page: PageLines, body: float) -> list[Placed]:
    lines = rows(page.lines)
    contents = sum(bool(LEADERS.search(line.text)) for line in lines) >= 4
    if page.turned:
        return [Placed(line, page.number, 0, 0, 0, contents) for line in lines]
    gutter = _gutter(page.width, lines)
    runs: list[tuple[int, list[Line]]] = []
    for line in lines:
        lane = 0 if gutter is None or line.left < gutter < line.right else 1 if line.right <= gutter else 2
        last = runs[-1] if runs else None
        if last and last[0] == 0 and lane == 1 and _goes_on(last[1][-1], line):
            lane = 0  # a short line of a text that runs across both columns
        small = line.size < 0.88 * body
        if last and last[0] == lane and line.bottom < last[1][-1].bottom + 1.2 * line.size and small == (last[1][-1].size < 0.88 * body):
            last[1].append(line)
        else:
            runs.append((lane, [line]))
    across = [_centre(run) for lane, run in runs if lane == 0]

    def place(item: tuple[int, list[Line]]) -> tuple[float, int, float, float]:
        lane, run = item
        band = sum(height > _centre(run) + 1 for height in across)
        return (band, lane, -run[0].top, run[0].left) if gutter is not None else (0, 0, -round(run[0].top), run[0].left)

    ordered = sorted(runs, key=place)
    edges = {lane: _edges([line for other, run in runs if other == lane for line in run]) for lane, _ in runs}
    notes = [(lane, run) for lane, run in ordered if _is_note(run, body, page.height, [r for other, r in runs if other == lane])]
    ordered = [item for item in ordered if item not in notes]
    return [
        Placed(line, page.number, lane, *edges[lane], contents, note)
        for note, items in ((False, ordered), (True, notes))
        for lane, run in items
        for line in run
    ]


def _goes_on(last: Line, line: Line) -> bool:
    """Whether a line is set like the one before it, directly below."""
    return last.font == line.font and same_size(last, line) and 0 < last.bottom - line.bottom < 1.6 * last.size


def rows(lines: Sequence[Line]) -> list[Line]:
    """Put pieces of one row together: PDFium starts a new line at superscripts and changes of font."""
    found: list[Line] = []
    for line in lines:
        last = found[-1] if found else None
        if last and line.upright and not last.hyphen and _same_row(last, line):
            space = "" if line.left - last.right < 0.12 * last.size or line.text[0] in ",.;:)" else " "
            larger = last if last.right - last.left >= line.right - line.left else line
            found[-1] = replace(
                larger, text=last.text + space + line.text, left=last.left, right=line.right, hyphen=line.hyphen,
                bottom=min(last.bottom, line.bottom), top=max(last.top, line.top),
            )  # fmt: skip
        else:
            found.append(line)
    return found


def _same_row(last: Line, line: Line) -> bool:
    overlap = min(last.top, line.top) - max(last.bottom, line.bottom)
    gap = line.left - last.right
    return overlap > 0.4 * min(last.size, line.size) and -0.3 * last.size < gap < 1.2 * last.size


def _gutter(width: float, lines: Sequence[Line]) -> float | None:
    """Where the page falls into two columns: the middle of the widest gap that few lines cross; None for one column."""
    best: tuple[int, float] | None = None
    for step in range(36, 65):
        x = width * step / 100
        left = [line for line in lines if line.right <= x]
        right = [line for line in lines if line.left >= x]
        crossing = len(lines) - len(left) - len(right)
        long = [sum(line.right - line.left > 0.2 * width for line in side) for side in (left, right)]
        if min(long) >= 5 and crossing < 0.8 * (len(left) + len(right)):
            candidate = (crossing, abs(x - width / 2))
            if best is None or candidate < best:
                best, gutter = candidate, x
    return gutter if best is not None else None


def _centre(run: Sequence[Line]) -> float:
    return (run[0].top + run[-1].bottom) / 2


def _edges(lines: Sequence[Line]) -> tuple[float, float]:
    """The edges of a lane: the extremes but for the outermost twentieth."""
    lefts, rights = sorted(line.left for line in lines), sorted(line.right for line in lines)
    return lefts[len(lefts) // 20], rights[-1 - len(rights) // 20]


def _is_note(run: Sequence[Line], body: float, height: float, lane: Sequence[Sequence[Line]]) -> bool:
    """A run in small type that is the lowest of its lane, in the lower part of the page: footnotes."""
    lowest = min(other[-1].bottom for other in lane)
    return run[0].size < 0.88 * body and run[0].top < 0.4 * height and run[-1].bottom == lowest and len(lane) > 1


def same_size(p: Line, q: Line) -> bool:
    return abs(p.size - q.size) <= 0.12 * max(p.size, q.size)

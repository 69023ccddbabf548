"""The reading order of PDF pages: running heads dropped, columns told apart, footnotes last.

A page is cut by geometry alone, whatever the order of its content stream: along the gutter that the fewest lines cross, into bands
between the lines that do cross it (titles, wide tables and figures, their captions), each band into its left and right part, and those
again, for any number of columns. Recursive cuts are those of Nagy & Seth, "Hierarchical representation of optically scanned
documents" (1984); that gutters come before gaps between paragraphs, and that lines across them make the bands, is what keeps two
columns apart whose gaps happen to be level.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner.documents.pdf.lines import Line, PageLines, Word, is_monospaced, same_size
from runner.documents.pdf.patterns import BULLET, CAPTION, LEADERS
from runner.documents.pdf.rows import pieces_joined, rows

_PAGE_NUMBER = re.compile(r"^[\W_]*(?:page\s+)?(?:\d{1,4}|[ivxl]{1,6})(?:\s*(?:of|/)\s*\d{1,4})?[\W_]*$", re.I)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


@dataclass(frozen=True, slots=True)
class Placed:
    """A line at its place in the reading order: ``left`` and ``right`` are the edges of its lane, which has a number of its own."""

    line: Line
    page: int
    lane: int
    left: float
    right: float
    contents: bool = False  # a line of a table of contents
    note: bool = False  # a footnote
    hanging: bool = False  # stands among paragraphs whose first line is the one that sticks out

    @property
    def full(self) -> bool:
        return self.line.right >= self.right - 0.15 * (self.right - self.left)

    def follows(self, last: Placed) -> bool:
        """Whether it stands directly below another line of its size in the same column."""
        step = last.line.bottom - (self.line.top - self.line.size)
        return (last.lane, last.page) == (self.lane, self.page) and same_size(last.line, self.line) and 0 < step < 1.5 * self.line.size


def in_order(pages: Sequence[PageLines]) -> tuple[list[Placed], float]:
    """The lines of all pages in reading order, and the size of the body's type in points."""
    pages = _without_running_heads(pages)
    body = _body_size(pages)
    found: list[Placed] = []
    for page in pages:
        found += _in_order(page, body, found[-1].lane + 1 if found else 0)
    return found, body


def _without_running_heads(pages: Sequence[PageLines]) -> list[PageLines]:
    """Drop page numbers and lines that stand at the edge of many pages, whatever numbers they hold."""
    seen: Counter[str] = Counter()
    edges = [_edge_lines(page) for page in pages]
    for edge in edges:
        seen.update({_shape(line.text) for line in edge})
    needed = max(2, min(6, len(pages) // 3))
    offsets = Counter(offset for page, edge in zip(pages, edges, strict=True) for line in edge for offset in {*_offsets(line, page)})
    usual = offsets.most_common(1)[0] if offsets else (0, 0)
    kept = []
    for page, edge in zip(pages, edges, strict=True):
        dropped = {id(line) for line in edge if seen[_shape(line.text)] >= needed}
        if usual[1] >= max(3, len(pages) // 4):  # a head or foot that holds the number of its page
            dropped |= {id(line) for line in edge if usual[0] in _offsets(line, page) and len(line.text) < 100}
        dropped |= {id(line) for line in page.lines if _PAGE_NUMBER.match(line.text) and _outermost(line, page)}
        left = [line for line in page.lines if id(line) not in dropped]
        kept.append(replace(page, lines=left or page.lines))  # a page is never only its head
    return kept


def _offsets(line: Line, page: PageLines) -> list[int]:
    """By how much the numbers at the ends of a line differ from that of its page."""
    words = line.text.split()
    return [int(word) - page.number for word in {words[0], words[-1]} if word.isascii() and word.isdigit() and len(word) < 5]


def _outermost(line: Line, page: PageLines) -> bool:
    """Whether a line stands at the edge of the page, or alone above or below all others in its outer quarter."""
    place = line.bottom / page.height
    others = [other for other in page.lines if other is not line]
    if not 0.08 < place < 0.92 or not others:
        return True
    below, above = min(other.bottom for other in others) - line.top, line.bottom - max(other.top for other in others)
    return (place < 0.25 and below > 0.5 * line.size) or (place > 0.75 and above > 0.5 * line.size)


def _edge_lines(page: PageLines) -> list[Line]:
    """The one or two rows at the upper and lower edge of a page that a gap parts from the rest of it."""
    found = []
    for lines in (sorted(page.lines, key=lambda line: -line.bottom), sorted(page.lines, key=lambda line: line.bottom)):
        rows: list[list[Line]] = []
        for line in lines:
            if rows and abs(rows[-1][-1].bottom - line.bottom) < 3:
                rows[-1].append(line)
            elif len(rows) == 3:
                break
            else:
                rows.append([line])
        steps = [abs(p[0].bottom - q[0].bottom) > 1.6 * max(p[0].size, q[0].size) for p, q in itertools.pairwise(rows)]
        count = steps.index(True) + 1 if True in steps else len(rows) if len(rows) < 3 else 0
        found += [line for row in rows[:count] for line in row if not 0.12 < line.bottom / page.height < 0.88]
    return found


def _shape(text: str) -> str:
    return re.sub(r"\d+", "#", text.lower())


def _body_size(pages: Sequence[PageLines]) -> float:
    sizes: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _in_order(page: PageLines, body: float, lane: int) -> list[Placed]:
    lines = _columns_apart([line for line in pieces_joined(page.lines) if line.upright])
    mirrored = sum(len(_RIGHT_TO_LEFT.findall(line.text)) for line in lines) * 2 > sum(len(line.text) for line in lines)
    if mirrored:  # columns and cells then run from right to left
        lines = [_mirrored(line, page.width) for line in lines]
    contents = sum(bool(LEADERS.search(line.text)) for line in lines) >= 4
    lanes = [rows(part, body) for part in _regions(lines)]
    lowest = [line for part in lanes for line in part]
    found: list[Placed] = []
    notes: list[Placed] = []
    for part in lanes:
        left, right = _edges(part)
        cut = _notes_from(part, lowest, body, page.height)
        hanging = _hanging(part, left)
        for place, line in enumerate(part):
            note = place >= cut
            item = Placed(line, page.number, lane + note, left, right, contents, note, hanging[place])
            (notes if note else found).append(item)
        lane += 2
    for line in page.lines:  # what is set across the page's direction, such as a stamp in the margin
        if not line.upright:
            notes.append(Placed(line, page.number, lane, line.left, line.right, contents, note=True))
            lane += 1
    return found + notes


def _mirrored(line: Line, width: float) -> Line:
    words = tuple(Word(word.text, width - word.right, width - word.left) for word in line.words)
    return replace(line, left=width - line.right, right=width - line.left, words=words)


def _columns_apart(lines: Sequence[Line]) -> list[Line]:
    """Part the lines that hold those of several columns, where the content stream goes from left to right over all of them.

    The parts of such a line are long, and those of the row of a table short; short ones that stand where others were parted, at
    the ends of paragraphs, are parted too.
    """
    several = [line for line in lines if not is_monospaced(line.font) and len(line.cells) > 1]
    long = {id(line) for line in several if _middle_length(line) >= 24}
    edges = Counter(round(left) for line in lines for left, _, text in line.cells if len(text) >= 24)
    apart = long | {id(line) for line in several if all(_near(left, edges) >= 3 for left, _, _ in line.cells)}
    return [part for line in lines for part in (_cells_apart(line) if id(line) in apart else [line])]


def _middle_length(line: Line) -> int:
    return sorted(len(text) for _, _, text in line.cells)[len(line.cells) // 2]


def _near(left: float, edges: Counter[int]) -> int:
    return sum(edges[round(left) + step] for step in (-1, 0, 1))


def _cells_apart(line: Line) -> list[Line]:
    found, start = [], 0
    for number, (_, right, _) in enumerate(line.cells):
        end = next(place for place in range(start, len(line.words)) if line.words[place].right == right) + 1
        found.append(line.of_words(line.words[start:end], line.hyphen and number == len(line.cells) - 1))
        start = end
    return found


def _regions(lines: Sequence[Line]) -> list[list[Line]]:
    """The parts of a page in reading order, each with the lines of one column."""
    gutter = _gutter(lines)
    if gutter is None:
        return [list(lines)] if lines else []
    across = _across(lines, gutter)
    names = {id(line) for line in across}
    bands: list[tuple[list[Line], list[Line], list[Line]]] = [([], [], [])]
    rest = sorted((line for line in lines if id(line) not in names), key=lambda line: -line.top)
    across.sort(key=lambda line: -line.top)
    while rest or across:
        if across and (not rest or _middle(across[0]) > _middle(rest[0])):
            if bands[-1][1] or bands[-1][2]:
                bands.append(([], [], []))
            bands[-1][0].append(across.pop(0))
        else:
            line = rest.pop(0)
            bands[-1][1 if line.left + line.right < 2 * gutter else 2].append(line)
    return [region for band in bands for part in band for region in _regions(part)]


def _middle(line: Line) -> float:
    return (line.top + line.bottom) / 2


def _gutter(lines: Sequence[Line]) -> float | None:
    """Where columns of running text stand side by side: the middle of the widest strip that the fewest lines cross."""
    prose = [line for line in lines if len(line.text) >= 16 and line.prose and len(line.cells) < 3]
    if len(prose) < 8:
        return None
    lefts, rights = sorted(line.left for line in lines), sorted(line.right for line in lines)
    prose_lefts, prose_rights = sorted(line.left for line in prose), sorted(line.right for line in prose)
    first, last = min(prose_lefts), max(prose_rights)
    best: tuple[int, int, float] | None = None  # lines that cross, minus the strip's width, its middle
    run: tuple[int, float] | None = None
    x = first + 0.1 * (last - first)
    while x <= last - 0.1 * (last - first):
        beside = min(bisect_right(prose_rights, x), len(prose) - bisect_left(prose_lefts, x))
        crossing = bisect_left(lefts, x) - bisect_right(rights, x)
        if beside < 4:
            run = None
        else:
            run = run if run is not None and run[0] == crossing else (crossing, x)
            candidate = (crossing, -round(x - run[1]), (x + run[1]) / 2)
            if best is None or candidate < best:
                best = candidate
        x += 1.0
    if best is None or -best[1] < 3:
        return None
    left, right = [line for line in prose if line.right <= best[2]], [line for line in prose if line.left >= best[2]]
    level = sum(any(p.top > q.bottom and q.top > p.bottom for q in right) for p in left)
    return best[2] if level >= 3 and level * 3 > min(len(left), len(right)) else None


def _across(lines: Sequence[Line], gutter: float) -> list[Line]:
    """The lines that stand across a gutter, and short ones below them that belong to them.

    A line that pokes over the gutter while others stand beside it belongs to its column.
    """
    crossing = [line for line in lines if line.left < gutter < line.right]
    beside = [line for line in lines if not line.left < gutter < line.right]
    found = []
    for line in crossing:
        level = [q for q in beside if min(q.top, line.top) - max(q.bottom, line.bottom) > 0.5 * min(q.size, line.size)]
        if not any(_lies_beside(line, q, gutter) for q in level):
            found.append(line)
    names = {id(line) for line in found}
    last = found
    while last:  # the last line of a paragraph or a caption, the lines of an address
        added = []
        for line in beside:
            if id(line) in names or not any(_goes_on(above, line) for above in last):
                continue
            if not any(_same_height(line, q) for q in beside if q is not line and id(q) not in names):
                added.append(line)
                names.add(id(line))
        found = found + added
        last = added
    return found


def _lies_beside(line: Line, other: Line, gutter: float) -> bool:
    """Whether another line stands in the lane into which this one only pokes."""
    apart = other.left >= line.right - 1 or other.right <= line.left + 1
    return apart and other.prose and (other.left > gutter) == (line.left + line.right < 2 * gutter)


def _same_height(p: Line, q: Line) -> bool:
    return min(p.top, q.top) - max(p.bottom, q.bottom) > 0.5 * min(p.size, q.size)


def _goes_on(above: Line, line: Line) -> bool:
    """Whether a line is set like another one, directly below."""
    if above.font != line.font or not same_size(above, line) or not 0 < above.bottom - line.bottom < 1.6 * above.size:
        return False
    return not line.prose or not above.text.endswith((".", ":", "!", "?"))


def _edges(lines: Sequence[Line]) -> tuple[float, float]:
    """The edges of a lane: the extremes but for the outermost twentieth."""
    lefts, rights = sorted(line.left for line in lines), sorted(line.right for line in lines)
    return lefts[len(lefts) // 20], rights[-1 - len(rights) // 20]


def _notes_from(lane: Sequence[Line], page: Sequence[Line], body: float, height: float) -> int:
    """Where the footnotes of a lane begin: small type at its foot with nothing but small type below it; its length without any."""
    cut = len(lane)
    while cut and lane[cut - 1].size < 0.91 * body and lane[cut - 1].top < 0.45 * height:
        cut -= 1
    while cut < len(lane) and (CAPTION.match(lane[cut].text) or len(lane[cut].cells) > 2):
        cut += 1
    if cut == len(lane):
        return cut
    first = lane[cut]
    larger = any(q.size >= 0.91 * body and q.top < first.bottom and q.left < first.right and first.left < q.right for q in page)
    above = any(q.size >= 0.91 * body and q.bottom > first.top for q in page)
    return len(lane) if larger or not above else cut


def _hanging(lane: Sequence[Line], left: float) -> list[bool]:
    """For each line whether most lines around it that stand at the edge are followed by an indented one: a list of references."""
    steps = [99.0 if is_monospaced(line.font) or BULLET.match(line.text) else (line.left - left) / line.size for line in lane]
    heads = [step < 0.4 for step in steps]
    hung = [head and 0.4 < after < 3 for head, after in zip(heads, [*steps[1:], 0.0], strict=True)]
    depth = Counter(round(after) for after, here in zip([*(line.left for line in lane[1:]), 0.0], hung, strict=True) if here).most_common(1)
    found = []
    for place in range(len(lane)):
        near = range(max(0, place - 9), min(len(lane), place + 10))
        count = sum(heads[index] for index in near)
        same = sum(hung[index] and abs(lane[index + 1].left - depth[0][0]) < 1.5 for index in near)
        found.append(count >= 3 and same >= 0.6 * count)
    return found

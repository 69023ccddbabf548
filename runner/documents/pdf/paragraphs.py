"""Which lines belong together: what stands between two of them, and which paragraph goes on behind a float or a note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from runner.documents.pdf.lines import Line, is_mathematical, is_monospaced, same_size
from runner.documents.pdf.patterns import BROKEN_ADDRESS, BULLET, CAPTION, ENDS, EQUAL, LEADERS, LETTERS, MARK, NAMED, NUMBERED
from runner.documents.pdf.reading_order import Placed


def separator(block: Sequence[Placed], item: Placed, body: float) -> str | None:
    """What stands between a block and the next line: a space, a line end, or None for a new block."""
    last = block[-1]
    p, q = last.line, item.line
    jump = last.lane != item.lane or last.page != item.page
    step = p.bottom - (q.top - q.size)  # of a line that took up the whole of the next, ``bottom`` is that of the next
    if "table" in (p.kind, q.kind) or not p.upright or not q.upright:
        return None
    if last.contents and item.contents and not jump:
        return "\n" if 0.3 * p.size < step < 2.5 * p.size else None
    if _is_formula(last) or _is_formula(item):
        return "\n" if _is_formula(last) and _is_formula(item) and not jump and p.bottom - q.top < 1.5 * body else None
    if max(p.size, q.size) < 0.88 * body and max(len(p.text), len(q.text)) < 30 and not jump:
        return "\n"  # labels in a figure
    if p.hyphen and not jump:
        return " "
    hanging = item.hanging and (last.hanging or jump) and not is_code(p) and not is_code(q)
    if hanging and not jump and 0.3 * p.size < step < 1.75 * p.size:
        return space(p, q) if q.left > item.left + 0.4 * q.size else None
    code = is_code(block[0].line)
    if code or (is_code(q) and not (_runs_on(last, item) and abs(q.left - p.left) < 2 * p.size)):
        if BROKEN_ADDRESS.search(p.text) and last.full and not jump:
            return ""
        return "\n" if code and is_code(q) and not jump and step < 3 * p.size else None
    if not same_size(p, q) or last.note != item.note or (p.bold != q.bold and (heading_like(last, body) or heading_like(item, body))):
        return None
    if MARK.match(q.text) and not jump and 0.3 * p.size < step < 3 * p.size:
        return "\n"
    captions = CAPTION.match(q.text), CAPTION.match(block[0].line.text)
    if captions[0] and (jump or not last.full or p.text.endswith(ENDS) or step > 1.4 * p.size):
        return None
    unfinished = last.full or p.hyphen or (jump and len(p.text) >= 20 and not p.row)
    runs_on = unfinished and not p.text.endswith(ENDS) and q.text[:1].islower()
    if jump:
        if captions[1] or last.note:
            return " " if last.note and runs_on else None
        goes_on = last.full and not p.text.endswith(ENDS) and p.prose and q.prose and not _starts_anew(item, body) and p.font == q.font
        return " " if runs_on or goes_on or (hanging and last.hanging and q.left > item.left + 0.4 * q.size) else None
    if p.size > 1.15 * body or heading_like(last, body):  # lines of one title, centred or not
        return " " if step < 1.9 * p.size and p.bold == q.bold and not NUMBERED.match(q.text) else None
    if step < 0.3 * p.size or step > 3 * p.size:
        return None if abs(step) > 3 * p.size else "\n"
    if runs_on:
        return space(p, q)
    if step > 1.75 * p.size:
        return None
    if BULLET.match(q.text) and (p.text.endswith(ENDS) or not last.full):
        return "\n"
    if q.left > p.left + 0.7 * p.size and not BULLET.match(p.text):
        return None if p.text.endswith(ENDS) or not last.full else " "
    edge = median([p.right, q.right, block[-2].line.right]) if len(block) > 1 else q.right
    if last.full or abs(edge - p.right) < 2:
        return space(p, q)
    if p.text.endswith(ENDS):
        return None
    return " " if q.text[:1].islower() and len(p.text) >= 20 else "\n"


def broken_off(runs: Sequence[Sequence[Placed]], item: Placed, body: float) -> int | None:
    """The place of the paragraph that this line continues across footnotes, figures and tables; None when there is none."""
    line = item.line
    if not runs or item.note or not same_size(line, replace(line, size=body)) or line.kind != "text" or _starts_anew(item, body):
        return None
    if line.left > item.left + 2 * line.size:
        return None
    for place in reversed(range(len(runs))):
        last, first = runs[place][-1], runs[place][0]
        if _is_body(last, body) and not CAPTION.match(first.line.text) and last.page >= item.page - 1:
            open_end = last.line.hyphen or (last.full and not last.line.text.endswith(ENDS))
            if not open_end or (last.page, last.lane) == (item.page, item.lane):
                return None
            sure = line.text[0].islower() or (line.prose and line.font == last.line.font)
            return place if sure and not heading_like(last, body) else None
    return None


def _is_body(item: Placed, body: float) -> bool:
    """Whether a line is one of running text, and not of a footnote, a figure, a table or a formula."""
    line = item.line
    prose = not item.note and line.kind == "text" and not is_code(line)
    return prose and same_size(line, replace(line, size=body)) and len(line.text) >= 30 and not line.row


def _starts_anew(item: Placed, body: float) -> bool:
    text = item.line.text
    return bool(CAPTION.match(text) or BULLET.match(text) or NUMBERED.match(text) or heading_like(item, body) or item.line.row)


def _runs_on(last: Placed, item: Placed) -> bool:
    """Whether a line stands directly below a full one that ends no sentence: words of a program in the middle of prose."""
    return last.full and not last.line.text.endswith(ENDS) and item.follows(last)


def space(p: Line, q: Line) -> str:
    """What parts two lines of a paragraph: nothing in an address that is set in the same monospaced type on both."""
    return "" if is_monospaced(q.font) and BROKEN_ADDRESS.search(p.text) else " "


def is_code(line: Line) -> bool:
    return is_monospaced(line.font) and line.kind == "text"


def _is_formula(item: Placed) -> bool:
    """A formula of several levels, or one line of mathematics that is set in from the edge of its column."""
    line = item.line
    if line.kind != "text":
        return line.kind == "formula"
    indented = line.left > item.left + 1.2 * line.size
    return indented and len(line.text) < 90 and not line.prose and bool(EQUAL.search(line.text) or is_mathematical(line.font))


def heading_like(item: Placed, body: float) -> bool:
    line = item.line
    if len(line.text) > 120 or not LETTERS.search(line.text) or item.contents or item.note or line.kind != "text" or line.row:
        return False
    if line.text.endswith((",", ";")) or EQUAL.search(line.text) or LEADERS.search(line.text):
        return False
    named = NUMBERED.match(line.text) or NAMED.match(line.text)
    return line.size > 1.15 * body or bool(line.bold and named)

"""Tables out of rows of words: a Markdown table where the grid is clear, otherwise the rows as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runner.documents.pdf.lines import Line, Word, is_monospaced, same_size
from runner.documents.pdf.patterns import CAPTION, NUMBERED
from runner.documents.pdf.reading_order import Placed

Columns = Sequence[tuple[float, float]]


def tables_joined(placed: Sequence[Placed], body: float) -> list[Placed]:
    """Put the rows of each table together into one line of that kind, whose text has several."""
    found: list[Placed] = []
    start = 0
    while start < len(placed):
        end = _table_end(placed, start) if placed[start].line.size > 0.65 * body else start
        if end == start:
            found.append(placed[start])
            start += 1
            continue
        lines = [item.line for item in placed[start:end]]
        whole = replace(
            lines[0], kind="table", text=table(lines), hyphen=False, bottom=lines[-1].bottom,
            left=min(line.left for line in lines), right=max(line.right for line in lines),
        )  # fmt: skip
        found.append(replace(placed[start], line=whole))
        start = end
    return found


def _table_end(placed: Sequence[Placed], start: int) -> int:
    """Where the table that begins at a line ends; ``start`` when none does. Two rows make one, of pairs three."""
    end, place, rowlike = start, start, 0
    while place < len(placed):
        item = placed[place]
        line = item.line
        last = placed[place - 1] if place > start else None
        if item.contents or is_monospaced(line.font) or line.kind != "text" or not line.words or CAPTION.match(line.text):
            break
        if last and ((last.lane, last.page) != (item.lane, item.page) or last.line.bottom - line.bottom > 3.2 * line.size):
            break
        if (
            line.row
            or (len(line.cells) > 1 and not NUMBERED.match(line.text))
            or (last and rowlike and _is_wrapped(placed[start], last, item))
        ):
            end = place + 1
        elif not _is_label(placed, start, place):
            break
        rowlike += line.row
        place += 1
    if rowlike >= 2:
        return end
    return end if end - start >= 3 and _are_pairs([item.line for item in placed[start:end]]) else start


def _is_wrapped(first: Placed, last: Placed, item: Placed) -> bool:
    """Whether a line goes on with a cell of the row above, but not with its first."""
    return (
        not item.line.prose
        and item.follows(last)
        and item.line.left > first.line.left + 2 * item.line.size
        and item.line.right < item.right
    )


def _is_label(placed: Sequence[Placed], start: int, place: int) -> bool:
    """Whether a line is a few words inside of a table or the names of its columns: rows follow, and it lies close to one."""
    line = placed[place].line
    if line.prose or len(line.text) > 60 or place + 1 >= len(placed) or line.text.endswith((".", ":", ",")):
        return False
    below = placed[place + 1]
    if not below.line.row or (below.lane, below.page) != (placed[place].lane, placed[place].page):
        return False
    if place == start:  # names of columns, set closely
        return len(line.words) >= 3 and line.bottom - below.line.bottom < 2.2 * line.size and same_size(line, below.line)
    return min(placed[place - 1].line.bottom - line.bottom, line.bottom - below.line.bottom) < 0.95 * line.size


def _are_pairs(lines: Sequence[Line]) -> bool:
    """Whether lines of two cells each have them below each other."""
    found = [line.cells for line in lines]
    if any(len(parts) != 2 for parts in found):
        return False
    lefts, rights = [parts[1][0] for parts in found], [parts[1][1] for parts in found]
    return max(lefts) - min(lefts) < 3 or max(rights) - min(rights) < 3


def table(rows: Sequence[Line]) -> str:
    """The text of a table, ``rows`` from top to bottom. Rows above the grid, such as headings over several columns, stay lines."""
    best: tuple[int, int] | None = None
    for first in range(max(1, len(rows) // 2)):
        count = len(_columns(rows[first:]))
        if best is None or count > best[0]:
            best = (count, first)
    assert best is not None
    first = best[1]
    columns = _columns(rows[first:])
    filled = _merged([_fill(row, columns) for row in rows[first:]])
    most = max(len(row.cells) for row in rows[first:])
    clear = len(columns) >= max(2, most) and all(_is_spread(row, columns) for row in rows[first:])
    if not clear or len(filled) < 2 or any(sum(map(bool, row)) < 2 for row in filled):
        return "\n".join(map(_plain, rows))
    head = [_plain(row) for row in rows[:first]]
    return "\n".join([*head, _piped(filled[0]), _piped(["---"] * len(columns)), *map(_piped, filled[1:])])


def _columns(rows: Sequence[Line]) -> Columns:
    """The spans of the columns: what is left between the strips that no word of any row covers.

    A strip as narrow as the space between two words parts columns only where half of the rows have numbers behind it.
    """
    size = min(row.size for row in rows)
    words = sorted(((word, place) for place, row in enumerate(rows) for word in row.words), key=lambda item: item[0].left)
    # spans with the rows that have a number in them
    narrow = 0.18 if len(rows) >= 5 else 0.3 if len(rows) == 4 else 0.8
    found: list[tuple[float, float, set[int]]] = []
    for word, place in words:
        numbers = {place} if any(map(str.isdigit, word.text)) else set[int]()
        if found and word.left - found[-1][1] < narrow * size:
            left, right, places = found[-1]
            found[-1] = (left, max(right, word.right), places | numbers)
        else:
            found.append((word.left, word.right, numbers))
    columns = found[:1]
    for left, right, places in found[1:]:
        before = columns[-1]
        if left - before[1] < 0.8 * size and len(places) * 2 < len(rows):
            columns[-1] = (before[0], right, before[2] | places)
        else:
            columns.append((left, right, places))
    return [(left, right) for left, right, _ in columns]


def _fill(row: Line, columns: Columns) -> list[str]:
    texts: list[list[str]] = [[] for _ in columns]
    for word in row.words:
        texts[_place(word, columns)].append(word.text)
    return [" ".join(text) for text in texts]


def _is_spread(row: Line, columns: Columns) -> bool:
    """Whether no two cells of a row stand in the same column."""
    places = [next(place for place, (first, last) in enumerate(columns) if first <= left <= last) for left, _, _ in row.cells]
    return len(set(places)) == len(places)


def _place(word: Word, columns: Columns) -> int:
    return next(place for place, (left, right) in enumerate(columns) if left <= word.left <= right)


def _merged(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows that go on with some cells of the row above are put into it, and the name of a group beside its rows into the next of them."""
    found: list[list[str]] = []
    group = ""
    for row in rows:
        name, *rest = row
        if name and not any(rest):
            if found and not found[-1][0]:
                found[-1][0] = name
            else:
                group = name
        elif found and not name and sum(map(bool, row)) * 2 <= len(row):
            found[-1] = [" ".join(filter(None, pair)) for pair in zip(found[-1], row, strict=True)]
        else:
            found.append([name or group, *rest])
            group = ""
    return found


def _piped(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _plain(row: Line) -> str:
    return " | ".join(text for _, _, text in row.cells)

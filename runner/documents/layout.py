"""From the lines of PDF pages to running text: paragraphs joined, words mended, headings and the title found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from runner.documents.hyphens import mend, vocabulary
from runner.documents.pdf_lines import Line, is_monospaced
from runner.documents.reading_order import LEADERS, PageLines, Placed, in_order, rows, same_size

_NUMBERED = re.compile(r"^(?:Appendix\s+)?(\d{1,2}(?:\.\d{1,2})*|[A-Z](?:\.\d{1,2})*)[.)]?\s+(?=[A-Z“\"])")
_NAMED = re.compile(r"^(abstract|introduction|conclusions?|references|acknowledge?ments?|appendix|discussion|related work)$", re.I)
_BULLET = re.compile(r"^(?:[•●▪◦‣∙·–*]|\(?(?:\d{1,2}|[a-z])[.)]|\[\d{1,3}\])\s")
_CAPTION = re.compile(r"^(?:figure|fig\.|table|listing|algorithm)\s*\d", re.I)
_ENDS = tuple(".!?:;")


@dataclass
class Block:
    """A paragraph, a heading (``level`` from 1) or a run of table rows or code; ``parts`` holds its text per page."""

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
    placed = _mended(placed)
    found: list[list[Placed]] = []
    texts: list[list[str]] = []  # the separator before each line of a block
    for line in placed:
        separator = _separator(found[-1], line, body) if found else None
        broken = _broken_off(found, line, body) if separator is None else None
        if broken is not None:  # goes on after a footnote, a figure or a table: these then stand before the paragraph
            found.append([*found.pop(broken), line])
            texts.append([*texts.pop(broken), " "])
        elif separator is None:
            found.append([line])
            texts.append([""])
        else:
            found[-1].append(line)
            texts[-1].append(separator)
    marks = _bookmarks(outline)
    return title, [_block(lines, separators, body, marks, title) for lines, separators in zip(found, texts, strict=True)]


def _mended(placed: list[Placed]) -> list[Placed]:
    """Put words together that are broken at line ends. The whole word stands in the first of the two lines.

    The second part is in the next line of the same size of type, so that a footnote in between does no harm.
    """
    words = vocabulary(_whole_words(placed))
    mended: list[Placed] = []
    open_words: list[int] = []  # places in ``mended`` whose last word goes on
    for item in placed:
        line = item.line
        if line.text.endswith(("-", "\u00ad")) and len(line.text) > 2 and line.text[-2].isalnum():
            line = replace(line, text=line.text[:-1], hyphen=True)
        place = next((place for place in open_words if same_size(mended[place].line, line)), None)
        if place is not None:
            open_words.remove(place)
            before = mended[place].line
            first, rest = mend(before.text, line.text, words)
            if not rest:  # the line held nothing but the end of the word: it becomes a part of the line before
                before = replace(before, right=line.right, bottom=line.bottom, hyphen=line.hyphen)
                if line.hyphen:
                    open_words.append(place)
            mended[place] = replace(mended[place], line=replace(before, text=first))
            if not rest:
                continue
            line = replace(line, text=rest)
        if line.hyphen:
            open_words.append(len(mended))
        mended.append(replace(item, line=replace(line, text=LEADERS.sub(" ... ", line.text).replace("\u00ad", ""))))
    for place in open_words:
        mended[place] = replace(mended[place], line=replace(mended[place].line, text=mended[place].line.text + "-"))
    return mended


def _whole_words(placed: Sequence[Placed]) -> Iterator[str]:
    """The text of all lines without the two parts of broken words."""
    broken = False
    for item in placed:
        words = item.line.text.split()
        yield " ".join(words[broken : -1 if item.line.hyphen else None])
        broken = item.line.hyphen


def _broken_off(found: Sequence[Sequence[Placed]], item: Placed, body: float) -> int | None:
    """The place of the paragraph that this line continues across footnotes, figures and tables; None when there is none."""
    if not found or not item.line.text[0].islower() or not same_size(item.line, replace(item.line, size=body)):
        return None
    for place in range(len(found) - 1, max(-1, len(found) - 12), -1):
        last = found[place][-1]
        if last.line.hyphen or (last.full and not last.line.text.endswith(_ENDS)):
            prose = same_size(last.line, item.line) and not last.note and not _tabular(last.line.text)
            if prose and not _CAPTION.match(found[place][0].line.text) and last.page >= item.page - 1:
                return place if (last.page, last.lane) != (item.page, item.lane) else None
        first = found[place][0]
        floating = last.note or not same_size(last.line, item.line) or _tabular(last.line.text) or len(last.line.text) < 30
        if not floating and not _CAPTION.match(first.line.text):
            return None
    return None


def _separator(block: Sequence[Placed], item: Placed, body: float) -> str | None:
    """What stands between a block and the next line: a space, a line end, or None for a new block."""
    last = block[-1]
    p, q = last.line, item.line
    jump = last.lane != item.lane or last.page != item.page
    step = p.bottom - q.bottom
    if last.right == 0:  # a turned page: nothing is known of its lines but their order
        return None if jump else " " if q.text[:1].islower() and not p.text.endswith(_ENDS) else "\n"
    if max(p.size, q.size) < 0.88 * body and max(len(p.text), len(q.text)) < 30 and not jump:
        return "\n"  # labels in a figure
    if p.hyphen and not jump:
        return " "
    if _is_code(p) or _is_code(q):
        return "\n" if _is_code(p) and _is_code(q) and not jump and step < 3 * p.size else None
    if not same_size(p, q) or (p.bold != q.bold and (_heading_like(last, body) or _heading_like(item, body))):
        return None
    unfinished = last.full or p.hyphen or (jump and len(p.text) >= 20 and not _tabular(p.text))
    runs_on = unfinished and not p.text.endswith(_ENDS) and q.text[:1].islower()
    if jump:
        return " " if runs_on else None
    if p.size > 1.15 * body or _heading_like(last, body):  # lines of one title, centred or not
        return " " if step < 1.9 * p.size and p.bold == q.bold and not _NUMBERED.match(q.text) else None
    if step < 0.3 * p.size or step > 3 * p.size:
        return None if abs(step) > 3 * p.size else "\n"
    if _tabular(p.text) or _tabular(q.text) or last.contents:
        sentence = any(not _tabular(text) and (text.endswith(".") or len(text.split()) > 6) for text in (p.text, q.text))
        return "\n" if step < 2 * p.size and not sentence else None
    if runs_on:
        return " "
    if step > 1.75 * p.size:
        return None
    if _BULLET.match(q.text) and (p.text.endswith(_ENDS) or not last.full):
        return "\n"
    start = block[0].line
    hanging = _BULLET.match(start.text) is not None
    if q.left > p.left + 0.7 * p.size and not (hanging and len(block) == 1):
        return None if last.line.text.endswith(_ENDS) or not last.full else " "
    edge = median([p.right, q.right, block[-2].line.right]) if len(block) > 1 else q.right
    if last.full or abs(edge - p.right) < 2:
        return " "
    if p.text.endswith(_ENDS):
        return None
    return " " if q.text[:1].islower() and len(p.text) >= 20 else "\n"


def _is_code(line: Line) -> bool:
    return is_monospaced(line.font)


def _tabular(text: str) -> bool:
    """Rows of a table: wide gaps, or at least three words, half of them numbers or dashes."""
    words = text.split()
    return text.count(" | ") >= 2 or (len(words) >= 3 and sum(not any(c.isalpha() for c in word) for word in words) >= 0.5 * len(words))


def _heading_like(item: Placed, body: float) -> bool:
    line = item.line
    if len(line.text) > 120 or sum(c.isalpha() for c in line.text) < 3 or _tabular(line.text) or item.contents:
        return False
    if line.text.endswith((",", ";")) or LEADERS.search(line.text):
        return False
    named = _NUMBERED.match(line.text) or _NAMED.match(line.text)
    return line.size > 1.15 * body or bool(line.bold and named)


def _bookmarks(outline: Sequence[tuple[int, int, str]]) -> dict[tuple[int, str], int]:
    return {(page, _letters(title)): level for level, page, title in outline}


def _letters(text: str) -> str:
    return re.sub(r"[\W\d_]+", "", text.lower())


def _title(pages: Sequence[PageLines], body: float) -> str:
    """The largest type in the upper half of the first page, where it is larger than the body's."""
    if not pages:
        return ""
    first = [line for line in rows(pages[0].lines) if line.upright and line.bottom > 0.5 * pages[0].height and len(line.text) > 3]
    size = max((line.size for line in first), default=0.0)
    if size < 1.15 * body:
        return ""
    lines = [line for line in first if line.size > 0.95 * size]
    title = " ".join(line.text for line in sorted(lines, key=lambda line: -line.top))
    return title if 4 < len(title) < 250 else ""


def _block(lines: Sequence[Placed], separators: Sequence[str], body: float, marks: dict[tuple[int, str], int], title: str) -> Block:
    block = Block()
    margin = min(item.line.left for item in lines)
    for item, separator in zip(lines, separators, strict=True):
        text = _indented(item.line, margin) if _is_code(item.line) and len(lines) > 1 and item.right else item.line.text
        if block.parts and block.parts[-1][0] == item.page:
            block.parts[-1] = (item.page, block.parts[-1][1] + separator + text)
        else:
            block.parts.append((item.page, text))
    whole = block.text
    if title and _letters(whole) == _letters(title) and lines[0].page == 1:
        block.level = 1
    elif marks:
        names = (_letters(_NUMBERED.sub("", whole)), _letters(whole))
        level = next((marks[page, name] for name in names for page in _near(lines[0].page) if (page, name) in marks), 0)
        named = _NAMED.match(whole) and _heading_like(lines[0], body)
        block.level = level + 1 if level and len(lines) <= 3 else 2 if named else 0
    elif len(lines) <= 3 and _heading_like(lines[0], body) and not whole.endswith("."):
        numbered = _NUMBERED.match(whole)
        block.level = 2 + (numbered.group(1).count(".") if numbered else 0)
    return block


def _near(page: int) -> tuple[int, int, int]:
    return page, page - 1, page + 1


def _indented(line: Line, margin: float) -> str:
    width = (line.right - line.left) / max(1, len(line.text))
    return " " * min(40, round((line.left - margin) / width)) + line.text if width > 0 else line.text

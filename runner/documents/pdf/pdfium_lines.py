"""The lines of a PDF page as PDFium finds them, in the order of the content stream.

PDFium is asked for as little as will do: the page's text in one call, the boxes of the first and last character of each word, and
the type of a few characters of each line. All boxes of all characters would take three times as long.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pypdfium2.raw as pdfium

from runner.documents.pdf.lines import ASCENT, DESCENT, Line, PageLines, Word, is_monospaced

#: PDFium's mark for a hyphen at the end of a line, which is U+FFFE in the text of a page.
_HYPHEN = "\ufffe"
_LINE = re.compile(r"([^\r\n\ufffe]*)([\r\n\ufffe]|$)")
_WORD = re.compile(r"\S+")
#: Glyphs without a Unicode mapping come as control characters or U+FFFD.
_DROPPED = dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0xFFFD, 0xFFFF))
_ALPHANUMERIC = re.compile(r"[^\W_]")
_PROSE = re.compile(r"[^\W\d_]{3,}")


def page_lines(page: Any, number: int) -> PageLines:
    """Every line of a ``pypdfium2.PdfPage`` with visible characters, turned so that most of its text runs from left to right."""
    text_page = page.get_textpage()
    try:
        left, bottom, right, top = page.get_bbox()
        if right <= left or top <= bottom:  # a box of no size: that of a page of US Letter, as PDFium does
            left, bottom, right, top = 0.0, 0.0, 612.0, 792.0
        reader = _Reader(text_page.raw, text_page.count_chars(), left, bottom, right - left, top - bottom)
        return reader.page(number)
    finally:
        text_page.close()


def most_is_lost(page: Any) -> bool:
    """Whether PDFium finds no characters in most of a page's text objects: it passes over vertical writing and glyphs without a name."""
    text_page = page.get_textpage()
    try:
        objects = [found.raw for found in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_TEXT], max_depth=3)]
        # Bytes of UTF-16 with the zero at its end.
        lost = sum(pdfium.FPDFTextObj_GetText(thing, text_page.raw, None, 0) <= 2 for thing in objects)
        return bool(lost >= 5 and lost * 2 > len(objects))
    finally:
        text_page.close()


#: A word with the span of its characters in the page's text.
_Placed = tuple[tuple[int, int], Word]


@dataclass(frozen=True, slots=True)
class _Type:
    """What one character tells of its line: quarter turns, font, size, and the height of the line it stands on."""

    turn: int
    font: str
    size: float
    baseline: float


class _Reader:
    def __init__(self, handle: Any, count: int, left: float, bottom: float, width: float, height: float) -> None:
        self.handle, self.left, self.bottom, self.width, self.height = handle, left, bottom, width, height
        self.text = self._text(count)
        self._box, self._matrix = pdfium.FS_RECTF(), pdfium.FS_MATRIX()
        self._x, self._y, self._flags = ctypes.c_double(), ctypes.c_double(), ctypes.c_int()
        self._objects: dict[int, tuple[str, float]] = {}
        self._name = ctypes.create_string_buffer(128)
        self._at_box, self._at_matrix = ctypes.byref(self._box), ctypes.byref(self._matrix)
        self._at_x, self._at_y, self._at_flags = ctypes.byref(self._x), ctypes.byref(self._y), ctypes.byref(self._flags)

    def _text(self, count: int) -> str:
        """The page's text, one character per index of PDFium: UTF-16 units, halves of a pair by themselves."""
        buffer = (ctypes.c_ushort * (count + 1))()
        if pdfium.FPDFText_GetText(self.handle, 0, count, buffer) == count + 1:
            text = bytes(buffer)[:-2].decode("utf-16-le", "surrogatepass")
            return text if len(text) == count else "".join(map(chr, buffer[:count]))
        codes = [pdfium.FPDFText_GetUnicode(self.handle, index) for index in range(count)]
        return "".join(_HYPHEN if code == 2 else chr(code) for code in codes)

    def page(self, number: int) -> PageLines:
        found = [item for match in _LINE.finditer(self.text) if match.group() for item in self._lines(match)]
        turns = Counter[int]()
        for turn, line in found:
            turns[turn] += len(line.text)
        most = turns.most_common(1)[0][0] if turns else 0
        lines = [line if turn == most else replace(line, upright=False) for turn, line in found]
        width, height = (self.width, self.height) if most % 2 == 0 else (self.height, self.width)
        return PageLines(number, width, height, lines)

    def _lines(self, match: re.Match[str]) -> Iterator[tuple[int, Line]]:
        start, end = match.span(1)
        hyphen = match.group(2) == _HYPHEN and bool(pdfium.FPDFText_IsHyphen(self.handle, end))
        found = [(word.span(), text) for word in _WORD.finditer(self.text, start, end) if (text := _decode(word.group()))]
        if not found:
            return
        kind = self._type([span for span, _ in found])
        placed = [(span, Word(text, *edges)) for span, text in found if (edges := self._edges(span, kind.turn)) is not None]
        if not placed:
            return
        for level in self._levels(placed, kind):
            own = kind if len(level) == len(placed) else self._type([span for span, _ in level])
            yield kind.turn, self._line(level, own, hyphen and level[-1][0] == found[-1][0])

    def _levels(self, placed: Sequence[_Placed], kind: _Type) -> Iterator[list[_Placed]]:
        """Words at one height. PDFium may run the parts of a fraction together into one line, or a label and the text below it.

        In prose only words are looked at that stand far before the one before them.
        """
        prose = len(_PROSE.findall(self.text, placed[0][0][0], placed[-1][0][1])) * 2 > len(placed)
        level = [placed[0]]
        height: float | None = None
        for before, item in itertools.pairwise(placed):
            if not prose or item[1].left < before[1].left - 5 * kind.size:
                height = self._origin(before[0][0], kind.turn) if height is None else height
                now = self._origin(item[0][0], kind.turn)
                if abs(now - height) > 0.5 * kind.size:
                    yield level
                    level, height = [], now
            level.append(item)
        yield level

    def _line(self, placed: Sequence[_Placed], kind: _Type, hyphen: bool) -> Line:
        words = tuple([word for _, word in placed])
        text = " ".join(word.text for word in words)
        bottom, top = kind.baseline - DESCENT * kind.size, kind.baseline + ASCENT * kind.size
        if not _ALPHANUMERIC.search(text) or "cmex" in kind.font.lower():  # large signs hang from the line that they stand on
            bottom, top = self._heights(placed[0][0][0], kind.turn) or (bottom, top)
        return Line(
            text=text,
            left=min([word.left for word in words]),
            right=max([word.right for word in words]),
            bottom=bottom,
            top=top,
            size=round(kind.size, 1),
            font=kind.font,
            hyphen=hyphen,
            words=words,
        )

    def _type(self, spans: Sequence[tuple[int, int]]) -> _Type:
        """The type of a line by some of its words: the largest, and monospaced only if all are (code, and not a word of it in prose)."""
        step = max(1.0, len(spans) / 5)
        # The second character of a word, where there is one: the first may be a quote or a bullet.
        indices = [min(spans[int(step * n)][0] + 1, spans[int(step * n)][1] - 1) for n in range(min(5, len(spans)))]
        kinds = {index: self._set(index) for index in indices}
        largest = max(size for _, size in kinds.values())
        counts = Counter(font for font, size in kinds.values() if size > 0.88 * largest)
        font = max(counts, key=lambda name: (not is_monospaced(name), counts[name]))
        index, size = next((index, size) for index, (name, size) in kinds.items() if name == font and size > 0.88 * largest)
        angle = pdfium.FPDFText_GetCharAngle(self.handle, index)
        turn = -round(angle / (math.pi / 2)) % 4 if angle >= 0 else 0  # PDFium counts clockwise
        return _Type(turn, font, max(size, 0.1), self._origin(index, turn))

    def _set(self, index: int) -> tuple[str, float]:
        """Font and size of a character. All characters of a text object have the same."""
        thing = pdfium.FPDFText_GetTextObject(self.handle, index)
        key = ctypes.addressof(thing.contents) if thing else -index - 1
        found = self._objects.get(key)
        if found is None:
            size = pdfium.FPDFText_GetFontSize(self.handle, index)
            if pdfium.FPDFText_GetMatrix(self.handle, index, self._at_matrix):
                size *= math.hypot(self._matrix.c, self._matrix.d)
            if pdfium.FPDFText_GetLooseCharBox(self.handle, index, self._at_box):
                height = max(self._box.top - self._box.bottom, self._box.right - self._box.left)  # either way round
                if not 0.4 * height < size < 2.5 * height:  # fonts of drawings state what they like
                    size = height
            length = pdfium.FPDFText_GetFontInfo(self.handle, index, self._name, 128, self._at_flags)
            found = (self._name.value.decode("utf-8", "replace") if 0 < length <= 128 else "", size)
            self._objects[key] = found
        return found

    def _edges(self, span: tuple[int, int], turn: int) -> tuple[float, float] | None:
        """Where a word begins and ends along its line."""
        box, at_box, handle = self._box, self._at_box, self.handle
        first, last = span[0], span[1] - 1
        if not pdfium.FPDFText_GetLooseCharBox(handle, first, at_box):
            return None
        low, high = (box.left, box.right) if turn % 2 == 0 else (box.bottom, box.top)
        if last > first and pdfium.FPDFText_GetLooseCharBox(handle, last, at_box):
            begin, end = (box.left, box.right) if turn % 2 == 0 else (box.bottom, box.top)
            low, high = (low if low < begin else begin), (high if high > end else end)
        if high <= low:
            return None
        if turn == 0:
            return low - self.left, high - self.left
        if turn == 1:
            return low - self.bottom, high - self.bottom
        edge = self.left + self.width if turn == 2 else self.bottom + self.height
        return edge - high, edge - low

    def _heights(self, index: int, turn: int) -> tuple[float, float] | None:
        """Bottom and top of what a glyph covers, where that is more than a flat stroke and the page is not turned."""
        edges = [ctypes.c_double() for _ in range(4)]
        bottom, top = edges[2:]
        if turn or not pdfium.FPDFText_GetCharBox(self.handle, index, *map(ctypes.byref, edges)):
            return None
        return (bottom.value - self.bottom, top.value - self.bottom) if top.value - bottom.value > 6 else None

    def _origin(self, index: int, turn: int) -> float:
        """The height of the line on which a character stands, once the page is turned upright."""
        pdfium.FPDFText_GetCharOrigin(self.handle, index, self._at_x, self._at_y)
        x, y = self._x.value - self.left, self._y.value - self.bottom
        return (y, self.width - x, self.height - y, x)[turn]


def _decode(word: str) -> str:
    if word.isascii() and word.isprintable():
        return word
    if any("\ud800" <= character <= "\udfff" for character in word):
        word = word.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return word.translate(_DROPPED)

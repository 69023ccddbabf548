"""The lines of a PDF page as PDFium finds them: text, box, type size and weight, in the order of the content stream."""

from __future__ import annotations

import ctypes
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pypdfium2.raw as pdfium

#: PDFium's mark for a hyphen at the end of a line; its text functions show it as U+FFFE.
_HYPHEN = 2
_LINE_END = (0x0A, 0x0D)


_MONOSPACED = ("mono", "courier", "cmtt", "nimbusmon", "consol", "inconsolata", "typewriter", "menlo")


def is_monospaced(font: str) -> bool:
    """Whether a font's name says that all of its characters have the same width."""
    return any(word in font.lower() for word in _MONOSPACED)


@dataclass(frozen=True)
class Line:
    """One line. Coordinates are PDF points from the lower left corner; ``hyphen`` says that its last word goes on in the next line."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    size: float  # height of the type, in points
    font: str
    hyphen: bool
    upright: bool

    @property
    def bold(self) -> bool:
        return any(word in self.font.lower() for word in ("bold", "black", "medi", "semibold", "heavy", "cmbx"))


def page_lines(text_page: Any) -> list[Line]:
    """Every line of a page with visible characters. ``text_page`` is a ``pypdfium2.PdfTextPage``."""
    count = text_page.count_chars()
    codes = [pdfium.FPDFText_GetUnicode(text_page, index) for index in range(count)]
    lines, start = [], 0
    for index, code in enumerate(codes):
        broken = code == _HYPHEN and bool(pdfium.FPDFText_IsHyphen(text_page, index))
        if broken or code in _LINE_END:
            lines.append(_line(text_page, codes, start, index, broken))
            start = index + 1
    lines.append(_line(text_page, codes, start, count, False))
    return [line for line in lines if line is not None]


def _line(text_page: Any, codes: list[int], start: int, end: int, hyphen: bool) -> Line | None:
    visible = [index for index in range(start, end) if codes[index] > 0x20 and codes[index] != 0xA0]
    sampled = [(box, _font(text_page, index)) for index in _sample(visible) if (box := _box(text_page, index)) is not None]
    if not sampled:
        return None
    boxes, fonts = [box for box, _ in sampled], Counter(font for _, font in sampled)
    # Monospaced only if all of it is: a line of code, and not a word of it in prose. The size is that of the chosen font.
    font = max(fonts, key=lambda name: (not is_monospaced(name), fonts[name]))
    sizes = sorted(box.top - box.bottom for box, name in sampled if name == font)
    text = _cells(text_page, codes, visible, sizes[0])
    if not text:
        return None
    middle = visible[len(visible) // 2]
    angle = pdfium.FPDFText_GetCharAngle(text_page, middle)
    return Line(
        text=text,
        left=min(box.left for box in boxes),
        right=max(box.right for box in boxes),
        bottom=min(box.bottom for box in boxes),
        top=max(box.top for box in boxes),
        size=round(sizes[len(sizes) // 2], 1),
        font=font,
        hyphen=hyphen,
        upright=min(angle, abs(angle - 6.2832)) < 0.1,
    )


def _cells(text_page: Any, codes: list[int], visible: list[int], size: float) -> str:
    """The text of a line; where it has two gaps or more that are wider than the type is high, ``|`` stands in each: a table."""
    pieces = [visible[0]]
    for before, after in itertools.pairwise(visible):
        if after > before + 1:
            left, right = _box(text_page, before), _box(text_page, after)
            if left and right and right.left - left.right > 1.25 * size:
                pieces.append(after)
    ends = [*pieces[1:], visible[-1] + 1]
    cells = [" ".join(_decode(codes[start:end]).split()) for start, end in zip(pieces, ends, strict=True)]
    prose = sum(cell.endswith((".", ",")) for cell in cells[:-1]) * 2 >= len(cells) - 1  # a stretched line
    return (" | " if len(cells) > 2 and not prose else " ").join(cell for cell in cells if cell)


def _sample(visible: list[int], most: int = 9) -> list[int]:
    """The first, the last, and some characters between them: enough for a box, and a tenth of the calls."""
    if len(visible) <= most:
        return visible
    step = (len(visible) - 1) / (most - 1)
    return [visible[round(step * number)] for number in range(most)]


def _box(text_page: Any, index: int) -> Any:
    rectangle = pdfium.FS_RECTF()
    found = pdfium.FPDFText_GetLooseCharBox(text_page, index, ctypes.byref(rectangle))
    return rectangle if found and rectangle.right > rectangle.left and rectangle.top > rectangle.bottom else None


def _font(text_page: Any, index: int) -> str:
    flags, buffer = ctypes.c_int(), ctypes.create_string_buffer(128)
    length = pdfium.FPDFText_GetFontInfo(text_page, index, buffer, 128, ctypes.byref(flags))
    return buffer.value.decode("utf-8", "replace") if 0 < length <= 128 else ""


def _decode(codes: list[int]) -> str:
    """PDFium gives UTF-16 units, one index each. Control characters are glyphs without a Unicode mapping: dropped."""
    kept = [code for code in codes if code >= 0x20 and code not in (0x7F, 0xFFFE, 0xFFFF)]
    text = "".join(map(chr, kept)).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("�", "") if "�" in text else text

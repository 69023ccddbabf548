"""PDFs opened through PyMuPDF, which is optional: it is under the AGPL-3.0 (or a commercial licence).

1.28 and older need nothing but themselves; 2.0 brings a layout package under a licence for non-commercial use, and is left out for that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.documents.pdf import Gap, Unreadable, needs_password
from runner.documents.pdf.lines import ASCENT, DESCENT, Line, PageLines, Word, is_monospaced
from runner.errors import MissingPackage

_BOLD = 16  # in the flags of a span
_HYPHENS = ("-", "\u00ad", "\u2010")


class MuPdf:
    """A :class:`runner.documents.pdf.PdfSource`. Raises Unreadable, MissingPackage."""

    def __init__(self, path: Path, password: str = "") -> None:
        try:
            import pymupdf
        except ImportError:
            raise MissingPackage.of("pymupdf", "pymupdf", "reading PDFs with PyMuPDF") from None
        self._library = pymupdf
        pymupdf.TOOLS.mupdf_display_errors(False)
        pymupdf.TOOLS.mupdf_display_warnings(False)
        try:
            self._document = pymupdf.open(path, filetype="pdf")
            locked = self._document.needs_pass and not (password and self._document.authenticate(password))
            self.count = 0 if locked else len(self._document)
        except Exception as error:  # it raises all kinds
            raise Unreadable("damaged", f"not a PDF, or its structure is damaged ({_first(error, path)})") from None
        if locked:
            self._document.close()
            raise needs_password(bool(password))
        self.title = str((self._document.metadata or {}).get("title") or "")
        self.outline = self._outline()

    def _outline(self) -> list[tuple[int, int, str]]:
        try:
            return [(level, page, title.strip()) for level, title, page in self._document.get_toc() if page > 0]
        except Exception:  # damaged bookmarks are no reason not to read the pages
            return []

    def page(self, index: int) -> tuple[PageLines, Gap] | None:
        library = self._library
        try:
            page = self._document[index]
            blocks = page.get_text("rawdict", flags=library.TEXT_PRESERVE_LIGATURES)["blocks"]
            width, height = page.rect.width, page.rect.height
            picture = not blocks and bool(page.get_image_info())
        except Exception:  # whatever a damaged page makes the library raise
            return None
        found = [item for block in blocks for line in block.get("lines", ()) for item in _lines(line, width, height)]
        turns = Counter[int]()
        for turn, line in found:
            turns[turn] += len(line.text)
        most = turns.most_common(1)[0][0] if turns else 0
        lines = [line if turn == most else replace(line, upright=False) for turn, line in found]
        size = (width, height) if most % 2 == 0 else (height, width)
        return PageLines(index + 1, *size, lines), "pictures" if picture and not lines else ""

    def close(self) -> None:
        self._document.close()


@dataclass(frozen=True, slots=True)
class _Character:
    text: str
    left: float
    right: float
    baseline: float
    font: str
    size: float


def _lines(line: dict[str, Any], width: float, height: float) -> Iterator[tuple[int, Line]]:
    """The parts of a line at one height, each with its quarter turns. The page has its origin at the lower left as it is read."""
    cosine, sine = line["dir"]
    turn = round(math.atan2(-sine, cosine) / (math.pi / 2)) % 4
    words: list[list[_Character]] = [[]]
    for span in line["spans"]:
        font = span["font"] + ("-Bold" if span["flags"] & _BOLD and "bold" not in span["font"].lower() else "")
        for given in span["chars"]:
            text = given["c"]
            if text.isspace() or not text.isprintable() or text == "\ufffd":
                words.append([])
                continue
            left, right = _along(given["bbox"], turn, width, height)
            character = _Character(text, left, right, _height(given["origin"], turn, width, height), font, span["size"])
            known = next((word[0] for word in reversed(words) if word), character)
            if abs(known.baseline - character.baseline) > 0.5 * known.size:
                yield from ((turn, part) for part in _line(words))
                words = [[]]
            words[-1].append(character)
    yield from ((turn, part) for part in _line(words))


def _line(groups: list[list[_Character]]) -> Iterator[Line]:
    groups = [group for group in groups if group]
    if not groups:
        return
    characters = [character for group in groups for character in group]
    largest = max(character.size for character in characters)
    sets = Counter((character.font, character.size) for character in characters if character.size > 0.88 * largest)
    font, size = max(sets, key=lambda key: (not is_monospaced(key[0]), sets[key]))
    baseline = next(character.baseline for character in characters if (character.font, character.size) == (font, size))
    words = [Word("".join(c.text for c in group), min(c.left for c in group), max(c.right for c in group)) for group in groups]
    text = " ".join(word.text for word in words)
    hyphen = len(text) > 2 and text.endswith(_HYPHENS) and text[-2].isalpha()
    if hyphen:
        words[-1] = Word(words[-1].text[:-1], words[-1].left, words[-1].right)
        text = text[:-1]
    yield Line(
        text, min(word.left for word in words), max(word.right for word in words), baseline - DESCENT * size, baseline + ASCENT * size,
        round(size, 1), font, hyphen, words=tuple(words),
    )  # fmt: skip


def _along(box: tuple[float, float, float, float], turn: int, width: float, height: float) -> tuple[float, float]:
    """Where a box begins and ends along its line; PyMuPDF's y runs downwards."""
    left, top, right, bottom = box
    return ((left, right), (height - bottom, height - top), (width - right, width - left), (top, bottom))[turn]


def _height(origin: tuple[float, float], turn: int, width: float, height: float) -> float:
    x, y = origin[0], height - origin[1]
    return (y, width - x, height - y, x)[turn]


def _first(error: Exception, path: Path) -> str:
    """The first line of a message, without the place of the file: it becomes a part of the artifact, which is the same everywhere."""
    return (str(error).splitlines() or [type(error).__name__])[0].replace(str(path), path.name)

"""Text of a PDF through PDFium: reading order, paragraphs, headings, page spans, and what could not be read.

Meant to run in a process of its own (:mod:`runner.documents.isolated`): a damaged file can crash or hang any PDF library.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from runner.documents.layout import Block, blocks
from runner.documents.model import VerdictName
from runner.documents.pdf_lines import page_lines
from runner.documents.reading_order import PageLines

_REASONS: dict[int, tuple[VerdictName, str]] = {
    pdfium.FPDF_ERR_FORMAT: ("damaged", "not a PDF, or its structure is damaged"),
    pdfium.FPDF_ERR_PASSWORD: ("encrypted", "needs a password"),
    pdfium.FPDF_ERR_SECURITY: ("encrypted", "its kind of encryption is not supported"),
}


@dataclass(frozen=True)
class PdfText:
    """What was found in a PDF. ``blocks`` are (heading level or 0, [(page, text)]); ``pages`` is the number of pages."""

    verdict: VerdictName
    reason: str = ""
    pages: int = 0
    title: str = ""
    blocks: list[tuple[int, list[tuple[int, str]]]] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        return asdict(self)


def read_pdf(path: Path) -> PdfText:
    """Read a PDF; whatever is wrong with the file is said by the verdict and not raised."""
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        verdict, reason = _REASONS.get(getattr(error, "err_code", None) or 0, ("damaged", str(error)))
        return PdfText(verdict, reason)
    with contextlib.closing(document):
        return _read(document)


def _read(document: Any) -> PdfText:
    count = len(document)
    if not count:
        return PdfText("damaged", "has no pages")
    pages, broken, pictures = [], [], []
    for index in range(count):
        try:
            page = document[index]
        except pypdfium2.PdfiumError:
            broken.append(index + 1)
            continue
        with contextlib.closing(page):
            width, height = page.get_size()
            with contextlib.closing(page.get_textpage()) as text_page:
                lines = page_lines(text_page)
            if not lines and _has_picture(page):
                pictures.append(index + 1)
        pages.append(PageLines(index + 1, width, height, lines))
    title, found = blocks(pages, _outline(document))
    verdict, reason = _verdict(count, found, broken, pictures)
    return PdfText(verdict, reason, count, title or _named_title(document), [(block.level, block.parts) for block in found])


def _verdict(count: int, found: list[Block], broken: list[int], pictures: list[int]) -> tuple[VerdictName, str]:
    if not found:
        if pictures:
            return "scanned", f"{_pages(pictures)} of {count} hold pictures and no text; the file needs OCR"
        if broken:
            return "damaged", f"{_pages(broken)} of {count} cannot be opened"
        return "empty", f"no text on {'its page' if count == 1 else f'any of {count} pages'}"
    gaps = [f"{_pages(pictures)} hold pictures and no text"] if pictures else []
    gaps += [f"{_pages(broken)} cannot be opened"] if broken else []
    return ("partly", "; ".join(gaps)) if gaps else ("read", "")


def _pages(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
    return f"{'page' if len(numbers) == 1 else 'pages'} {shown}"


def _has_picture(page: Any) -> bool:
    return any(True for _ in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=3))


def _outline(document: Any) -> list[tuple[int, int, str]]:
    """Bookmarks as (level from 1, page from 1, title); damaged ones are left out."""
    found = []
    with contextlib.suppress(pypdfium2.PdfiumError):
        for mark in document.get_toc(max_depth=8):
            target = mark.get_dest()
            index = target.get_index() if target is not None else None
            if index is not None:
                found.append((mark.level + 1, index + 1, mark.get_title().strip()))
    return found


def _named_title(document: Any) -> str:
    """The title in the file's properties, unless it is the name of a file."""
    title = " ".join(str(document.get_metadata_value("Title")).split())
    lowered = title.lower()
    return "" if lowered.startswith("microsoft word") or lowered.endswith((".doc", ".docx", ".tex", ".dvi", ".pdf", ".indd")) else title

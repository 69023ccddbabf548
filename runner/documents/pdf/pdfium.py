"""PDFs opened through PDFium (pypdfium2)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pypdfium2
import pypdfium2.raw as pdfium

from runner.documents.pdf import Gap, Unreadable, needs_password
from runner.documents.pdf.lines import PageLines
from runner.documents.pdf.pdfium_lines import most_is_lost, page_lines

#: Characters of a page that has more of them than one whose text is mostly lost. A full page is not asked, which takes time.
_FEW = 1000


class Pdfium:
    """A :class:`runner.documents.pdf.PdfSource`. Raises Unreadable."""

    def __init__(self, path: Path, password: str = "") -> None:
        try:
            self._document = pypdfium2.PdfDocument(path, password=password or None)
        except pypdfium2.PdfiumError as error:
            code = getattr(error, "err_code", None)
            locked = b"/Encrypt" in path.read_bytes()  # PDFium may answer with the error of an earlier file
            if locked and code == pdfium.FPDF_ERR_PASSWORD:
                raise needs_password(bool(password)) from None
            if locked and code == pdfium.FPDF_ERR_SECURITY:
                raise Unreadable("encrypted", "its kind of encryption is not supported") from None
            raise Unreadable(
                "damaged", "not a PDF, or its structure is damaged" if code == pdfium.FPDF_ERR_FORMAT else str(error)
            ) from None
        self.count = len(self._document)
        self.title = str(self._document.get_metadata_value("Title"))
        self.outline = _outline(self._document)

    def page(self, index: int) -> tuple[PageLines, Gap] | None:
        try:
            page = self._document[index]
        except pypdfium2.PdfiumError:
            return None
        with contextlib.closing(page):
            found = page_lines(page, index + 1)
            if not found.lines and _has_picture(page):
                return found, "pictures"
            characters = sum(len(line.text) for line in found.lines)
            return found, "text" if characters < _FEW and most_is_lost(page) else ""

    def close(self) -> None:
        self._document.close()


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

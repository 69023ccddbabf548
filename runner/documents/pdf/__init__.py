"""Text of a PDF: reading order, paragraphs, headings, tables, page spans, and what could not be read.

PDFium reads it, or PyMuPDF where that is asked for (https://pymupdf.readthedocs.io; AGPL-3.0 or commercial, and for that reason never
required); either gives lines, and the same layout makes text of them. Meant to run in a process of its own
(:mod:`runner.documents.isolated`): a damaged file can crash or hang any PDF library.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from runner.documents.model import VerdictName
from runner.documents.pdf.layout import Block, blocks
from runner.documents.pdf.lines import PageLines

Engine = Literal["pypdfium2", "pymupdf"]
#: What the lines of a page leave out: nothing, the pictures of a page without text, most of its text.
Gap = Literal["", "pictures", "text"]


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


class Unreadable(Exception):
    """A file that cannot be opened, with the verdict on it."""

    def __init__(self, verdict: VerdictName, reason: str) -> None:
        super().__init__(reason)
        self.verdict, self.reason = verdict, reason


class PdfSource(Protocol):
    """An open PDF, as both engines give it. ``title`` is the one in its properties, ``outline`` is (level, page, title), all from 1."""

    count: int
    title: str
    outline: list[tuple[int, int, str]]

    def page(self, index: int) -> tuple[PageLines, Gap] | None:
        """The lines of a page from 0 and what of it they leave out; None when it cannot be opened."""

    def close(self) -> None: ...


def read_pdf(path: Path, password: str = "", engine: Engine = "pypdfium2") -> PdfText:
    """Read a PDF; whatever is wrong with the file is said by the verdict and not raised.

    MissingPackage when ``engine`` is pymupdf and that is not installed.
    """
    try:
        source = _open(path, password, engine)
    except Unreadable as error:
        return PdfText(error.verdict, error.reason)
    with contextlib.closing(source):
        return _read(source)


def _open(path: Path, password: str, engine: Engine) -> PdfSource:
    if engine == "pymupdf":
        from runner.documents.pdf.mupdf import MuPdf

        return MuPdf(path, password)
    from runner.documents.pdf.pdfium import Pdfium

    return Pdfium(path, password)


def needs_password(given: bool) -> Unreadable:
    """The same words for both engines."""
    found = "the password given for it does not open it" if given else "needs a password"
    return Unreadable("encrypted", f"{found}; name the environment variable that holds it in `resources.passwords`")


def _read(source: PdfSource) -> PdfText:
    if not source.count:
        return PdfText("damaged", "has no pages")
    pages, broken = [], []
    gaps: dict[Gap, list[int]] = {"pictures": [], "text": []}
    for index, found in enumerate(_pages_of(source)):
        if found is None:
            broken.append(index + 1)
            continue
        page, gap = found
        if gap:
            gaps[gap].append(index + 1)
        pages.append(page)
    title, text = blocks(pages, source.outline)
    verdict, reason = _verdict(source.count, text, broken, **gaps)
    return PdfText(verdict, reason, source.count, title or _named_title(source.title), [(block.level, block.parts) for block in text])


def _pages_of(source: PdfSource) -> Iterator[tuple[PageLines, Gap] | None]:
    return (source.page(index) for index in range(source.count))


def _verdict(count: int, found: list[Block], broken: list[int], pictures: list[int], text: list[int]) -> tuple[VerdictName, str]:
    if not found:
        if pictures:
            return "scanned", f"{_pages(pictures)} of {count} {_hold(pictures)} pictures and no text; the file needs OCR"
        if broken:
            return "damaged", f"{_pages(broken)} of {count} cannot be opened"
        if text:
            return (
                "scanned",
                f"{_pages(text)} of {count} {_hold(text)} text that says no letters; the file needs OCR, or another `pdf` library",
            )
        return "empty", f"no text on {'its page' if count == 1 else f'any of {count} pages'}"
    gaps = [f"{_pages(pictures)} {_hold(pictures)} pictures and no text"] if pictures else []
    gaps += [f"most of the text of {_pages(text)} is not found, as happens to vertical writing; try another `pdf` library"] if text else []
    gaps += [f"{_pages(broken)} cannot be opened"] if broken else []
    return ("partly", "; ".join(gaps)) if gaps else ("read", "")


def _hold(numbers: list[int]) -> str:
    return "holds" if len(numbers) == 1 else "hold"


def _pages(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
    return f"{'page' if len(numbers) == 1 else 'pages'} {shown}"


def _named_title(text: str) -> str:
    """The title in the file's properties, unless it is the name of a file."""
    title = " ".join(text.split())
    lowered = title.lower()
    return "" if lowered.startswith("microsoft word") or lowered.endswith((".doc", ".docx", ".tex", ".dvi", ".pdf", ".indd")) else title

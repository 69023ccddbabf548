"""From files to documents: formats told apart, text read and cleaned, every file with a verdict."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from runner.documents.bibliography import is_bibliography
from runner.documents.cleaning import Rule, clean
from runner.documents.encodings import decode
from runner.documents.isolated import Failure, Isolated
from runner.documents.markdown import front_matter, plain, sections
from runner.documents.model import Document, Format, Page, Section, Verdict

PdfEngine = Literal["pypdfium2", "pymupdf"]

FORMATS: Mapping[str, Format] = {
    ".md": "markdown", ".markdown": "markdown", ".mdown": "markdown", ".txt": "text", ".text": "text",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".pdf": "pdf",
}  # fmt: skip
#: What reading a format imports.
_LATE: Mapping[Format, Sequence[str]] = {
    "pdf": ("runner.documents.pdf", "runner.documents.pdf.pdfium"),
    "html": ("runner.documents.html", "markdownify", "bs4.builder._lxml"),
}
_HALVES = re.compile("[\ud800-\udfff]")
#: The title in front matter.
_NAMED = re.compile(r"^title[ \t]*[:=][ \t]*([\"']?)(\S.*?)\1[ \t]*$", re.M)
_PDF = re.compile(rb"%PDF-\d")
_HTML = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.I | re.S)


@dataclass(frozen=True)
class File:
    """A file to read: its place, its document's id, and how it is called in messages (the path, if nothing else is said)."""

    path: Path
    id: str
    name: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Reading:
    """How files are read: rules of cleaning in their order, the library for PDFs, and the encoding of texts that are no UTF-8."""

    rules: Sequence[Rule] = ()
    pdf: PdfEngine = "pypdfium2"
    encoding: str | None = None


def read_documents(
    files: Iterable[File],
    reading: Reading = Reading(),
    *,
    seconds: float = 120,
    megabytes: int = 2048,
    concurrency: int = 4,
    tick: Callable[[], None] | None = None,
) -> Iterator[tuple[Document | None, Verdict]]:
    """Read files, each in a process of its own, ``concurrency`` at once; the results come in the order of the files.

    Whatever is wrong with a file is said by its verdict; a document comes with every verdict that is ``usable``. A file that takes
    more than ``seconds`` or ``megabytes``, or crashes its reader, is ``damaged``. ``tick`` is called several times a second; what it
    raises ends the reading. StepError when no process can be started.
    """
    given = list(files)
    items = ({"file": {**asdict(file), "path": os.fspath(file.path)}, "reading": asdict(reading)} for file in given)
    formats = {FORMATS.get(Path(file.id).suffix.lower()) for file in given}
    preload = [module for format, modules in _LATE.items() if format in formats for module in modules]
    preload += ["pymupdf"] if reading.pdf == "pymupdf" and "pdf" in formats else []
    limits: dict[str, Any] = {"seconds": seconds, "megabytes": megabytes, "concurrency": concurrency, "tick": tick}
    with Isolated("runner.documents.ingest:read_item", preload=preload, **limits) as isolated:
        for file, answer in zip(given, isolated.map(items), strict=True):
            if isinstance(answer, Failure):
                yield None, Verdict(_sound(file.name or str(file.path)), "damaged", _sound(answer.reason))
            else:
                document, verdict = answer
                yield Document.of(document) if document is not None else None, Verdict(**verdict)


def read_item(item: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """:func:`read_document` on plain data, for :class:`Isolated`."""
    document, verdict = read_document(File(**{**item["file"], "path": Path(item["file"]["path"])}), Reading(**item["reading"]))
    return document.row() if document is not None else None, asdict(verdict)


def read_document(file: File, reading: Reading = Reading()) -> tuple[Document | None, Verdict]:
    """Read one file in this very process; see :func:`read_documents`."""
    name = _sound(file.name or str(file.path))
    try:
        data = _bytes(file.path)
    except OSError as error:
        return None, Verdict(name, "damaged", f"cannot be read: {error.strerror}")
    if not data:
        return None, Verdict(name, "empty", "the file has no bytes")
    named, seen = FORMATS.get(Path(file.id).suffix.lower()), _sniffed(data)
    format = named or seen
    if format is None:
        return None, Verdict(name, "unsupported", f"the formats are {', '.join(sorted(FORMATS))}")
    bare = Document(_sound(file.id), name, "", format, "", hashlib.sha256(data).hexdigest())
    if format == "pdf":
        if seen == "html":
            return None, Verdict(name, "damaged", "holds a web page and no PDF, as a download does that went wrong")
        del data
        return _pdf(file, bare, reading)
    if seen == "pdf":
        return None, Verdict(name, "damaged", "holds a PDF; name it .pdf")
    text, reason = decode(data, reading.encoding, html=format == "html")
    if text is None:
        return None, Verdict(name, "damaged", reason)
    return _text(text, bare, reading)


def _bytes(path: Path) -> bytes:
    """A regular file's bytes; never waits for the writer of a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no regular file")
        with open(descriptor, "rb", closefd=False) as opened:
            return opened.read()
    finally:
        os.close(descriptor)


def _sniffed(data: bytes) -> Format | None:
    """The format that a file's first bytes give away."""
    return "pdf" if _PDF.search(data[:1024]) else "html" if _HTML.match(data[:4096].removeprefix(b"\xef\xbb\xbf")) else None


def _text(text: str, bare: Document, reading: Reading) -> tuple[Document | None, Verdict]:
    title = ""
    given = bool(text.strip())
    if bare.format == "html":
        from runner.documents.html import read_html

        page = read_html(text)
        title, text = page.title, page.text
        if given and not text.strip():
            return None, Verdict(bare.source, "empty", "the page holds no text; a browser may be needed to fill it")
    elif bare.format == "markdown" and (named := _NAMED.search(front_matter(text))):
        title = named.group(2)
    text = _sound(clean(text, reading.rules, bare.format).strip("\n"))
    if not text.strip():
        return None, Verdict(bare.source, "empty", "no text is left after cleaning" if given else "the file holds no text")
    found = sections(text) if bare.format != "text" else []
    if bare.format != "html":
        title = next((section.title for section in found if section.level == 1), "") or title or (found[0].title if found else "")
    document = replace(bare, title=_sound(title) or _first_line(text[len(front_matter(text)) :], bare.id), text=text, sections=tuple(found))
    return document, Verdict(bare.source, "read", characters=len(text))


def _first_line(text: str, identity: str) -> str:
    line = next((line for line in text.split("\n") if line.strip()), "")
    line = plain(line) if len(line) <= 500 else ""
    return line if 0 < len(line) <= 120 else Path(identity).stem


def _sound(text: str) -> str:
    """Text that can be written: half characters (lone surrogates) replaced."""
    return _HALVES.sub("\ufffd", text)


def _pdf(file: File, bare: Document, reading: Reading) -> tuple[Document | None, Verdict]:
    from runner.documents.pdf import read_pdf

    found = read_pdf(file.path, password=file.password, engine=reading.pdf)
    text, pages, headings = _assemble(found.blocks, found.pages, reading.rules)
    verdict, reason = found.verdict, found.reason
    if verdict in ("read", "partly") and not text.strip():
        verdict, reason = "empty", "no text is left after cleaning"
    note = Verdict(bare.source, verdict, _sound(reason), found.pages, len(text))
    if not note.usable:
        return None, replace(note, characters=0)
    title = clean(_sound(found.title), reading.rules, "pdf").strip() or (headings[0].title if headings else "")
    return replace(bare, title=title or _first_line(text, bare.id), text=text, pages=tuple(pages), sections=tuple(headings)), note


def _assemble(
    blocks: Sequence[tuple[int, Sequence[tuple[int, str]]]], count: int, rules: Sequence[Rule]
) -> tuple[str, list[Page], list[Section]]:
    """One text out of a PDF's blocks, with blank lines between them, the spans of its pages and its headings."""
    pieces: list[str] = []
    starts: dict[int, int] = {}
    headings: list[Section] = []
    length = 0
    for level, parts in _without_bibliography(blocks) if "references" in rules else blocks:
        cleaned = [(page, clean(_sound(text), rules, "pdf").strip("\n")) for page, text in parts]
        cleaned = [(page, text) for page, text in cleaned if text.strip()]
        for number, (page, text) in enumerate(cleaned):
            separator = " " if number else "\n\n" if pieces else ""
            pieces += [separator, text]
            length += len(separator)
            starts.setdefault(page, length)
            if level and not number:
                headings.append(Section(level, re.sub(r"\s+", " ", " ".join(part for _, part in cleaned)), length))
            length += len(text)
    return "".join(pieces), _pages(starts, count, length), headings


def _without_bibliography(
    blocks: Sequence[tuple[int, Sequence[tuple[int, str]]]],
) -> Iterator[tuple[int, Sequence[tuple[int, str]]]]:
    """The blocks but for lists of references, each from its heading to the next one of the same or a higher level."""
    within = 0
    for level, parts in blocks:
        if level and (not within or level <= within):
            within = level if is_bibliography(" ".join(text for _, text in parts)) else 0
        if not within:
            yield level, parts


def _pages(starts: Mapping[int, int], count: int, length: int) -> list[Page]:
    """Adjacent spans that cover the text; a page without text has an empty one."""
    found, end = [], length
    for page in range(count, 0, -1):
        start = min(starts.get(page, end), end)
        found.append(Page(page, start, end))
        end = start
    return found[::-1]

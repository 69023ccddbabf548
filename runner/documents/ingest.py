"""From files to documents: formats told apart, text read and cleaned, every file with a verdict."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.documents.cleaning import Rule, clean
from runner.documents.isolated import PdfReader
from runner.documents.markdown import plain, sections
from runner.documents.model import Document, Format, Page, Section, Verdict

FORMATS: Mapping[str, Format] = {
    ".md": "markdown", ".markdown": "markdown", ".mdown": "markdown", ".txt": "text", ".text": "text", ".pdf": "pdf",
}  # fmt: skip


def read_documents(
    files: Mapping[Path, str], rules: Sequence[Rule] = (), *, pdf: PdfReader, names: Mapping[Path, str] | None = None
) -> Iterator[tuple[Document | None, Verdict]]:
    """Read files one by one. ``files`` maps each path to its document's id, ``names`` to how the file is called in messages.

    Whatever is wrong with a file is said by its verdict; a document comes with every verdict that is ``usable``.
    """
    for path, identity in files.items():
        yield read_document(path, identity, rules, pdf=pdf, name=(names or {}).get(path, str(path)))


def read_document(path: Path, identity: str, rules: Sequence[Rule], *, pdf: PdfReader, name: str) -> tuple[Document | None, Verdict]:
    """Read one file; see :func:`read_documents`."""
    format = FORMATS.get(path.suffix.lower())
    if format is None:
        return None, Verdict(name, "unsupported", f"the formats are {', '.join(sorted(FORMATS))}")
    try:
        data = path.read_bytes()
    except OSError as error:
        return None, Verdict(name, "damaged", f"cannot be read: {error.strerror}")
    if not data:
        return None, Verdict(name, "empty", "the file has no bytes")
    digest = hashlib.sha256(data).hexdigest()
    if format == "pdf":
        return _pdf(pdf.read(path), Document(identity, name, "", format, "", digest), rules)
    text, reason = decode(data)
    if text is None:
        return None, Verdict(name, "damaged", reason)
    text = clean(text, rules, format).strip("\n")
    if not text.strip():
        return None, Verdict(name, "empty", "the file holds no text" if not rules else "no text is left after cleaning")
    found = sections(text) if format == "markdown" else []
    title = next((section.title for section in found if section.level == 1), "") or (found[0].title if found else "")
    document = Document(identity, name, title or _first_line(text, identity), format, text, digest, sections=tuple(found))
    return document, Verdict(name, "read", characters=len(text))


def decode(data: bytes) -> tuple[str | None, str]:
    """Text of a file's bytes with ``\\n`` as line end, or None and the reason. UTF-8, or UTF-16 with a byte-order mark."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return None, f"not UTF-8: byte 0x{data[error.start]:02x} in line {line}; convert it (iconv -f WINDOWS-1252 -t UTF-8)"
    if "\0" in text:
        return None, "holds NUL characters: not a text file"
    return text.replace("\r\n", "\n").replace("\r", "\n"), ""


def _first_line(text: str, identity: str) -> str:
    line = plain(next(line for line in text.split("\n") if line.strip()))
    return line if 0 < len(line) <= 120 else Path(identity).stem


def _pdf(found: Mapping[str, Any], bare: Document, rules: Sequence[Rule]) -> tuple[Document | None, Verdict]:
    text, pages, headings = _assemble(found["blocks"], found["pages"], rules)
    verdict, reason = found["verdict"], found["reason"]
    if verdict in ("read", "partly") and not text.strip():
        verdict, reason = "empty", "no text is left after cleaning"
    note = Verdict(bare.source, verdict, reason, found["pages"], len(text))
    if not note.usable:
        return None, note
    title = clean(found["title"], rules, "pdf").strip() or (headings[0].title if headings else "") or _first_line(text, bare.id)
    return replace(bare, title=title, text=text, pages=tuple(pages), sections=tuple(headings)), note


def _assemble(
    blocks: Sequence[tuple[int, Sequence[tuple[int, str]]]], count: int, rules: Sequence[Rule]
) -> tuple[str, list[Page], list[Section]]:
    """One text out of a PDF's blocks, with blank lines between them, the spans of its pages and its headings."""
    pieces: list[str] = []
    starts: dict[int, int] = {}
    headings: list[Section] = []
    length = 0
    for level, parts in blocks:
        cleaned = [(page, clean(text, rules, "pdf").strip("\n")) for page, text in parts]
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


def _pages(starts: Mapping[int, int], count: int, length: int) -> list[Page]:
    """Adjacent spans that cover the text; a page without text has an empty one."""
    found, end = [], length
    for page in range(count, 0, -1):
        start = min(starts.get(page, end), end)
        found.append(Page(page, start, end))
        end = start
    return found[::-1]

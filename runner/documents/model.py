"""What a document is after reading: text with the spans of its pages and sections, and a verdict on its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Format = Literal["markdown", "text", "html", "pdf"]
VerdictName = Literal["read", "partly", "scanned", "encrypted", "damaged", "empty", "unsupported"]


@dataclass(frozen=True)
class Page:
    """A page, numbered from 1, as a span of characters of the document's text."""

    page: int
    start: int
    end: int


@dataclass(frozen=True)
class Section:
    """A heading: ``level`` from 1, ``start`` is the offset of its first character in the document's text."""

    level: int
    title: str
    start: int


@dataclass(frozen=True)
class Document:
    """A document that was read. ``sha256`` is that of the source file; ``pages`` is empty for formats without pages."""

    id: str
    source: str
    title: str
    format: Format
    text: str
    sha256: str
    pages: Sequence[Page] = ()
    sections: Sequence[Section] = ()

    def row(self) -> dict[str, Any]:
        """The document as a row of ``documents.jsonl``."""
        return asdict(self)

    @classmethod
    def of(cls, row: dict[str, Any]) -> Document:
        """The document of such a row."""
        pages = tuple(Page(**page) for page in row.get("pages", ()))
        sections = tuple(Section(**section) for section in row.get("sections", ()))
        return cls(**{**row, "pages": pages, "sections": sections})


@dataclass(frozen=True)
class Verdict:
    """How reading a file went. ``pages`` is 0 for formats without pages, ``characters`` counts the text that was taken."""

    path: str
    verdict: VerdictName
    reason: str = ""
    pages: int = 0
    characters: int = 0

    @property
    def usable(self) -> bool:
        return self.verdict in ("read", "partly")

"""Cutting documents into chunks, each with its place in the document: page, section, and span of characters."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from runner.documents.chunks.measuring import Characters, Measure, Tokens
from runner.documents.chunks.outline import Marked, outline
from runner.documents.chunks.recursive import Recursive
from runner.documents.model import Document, Format

#: What of a format's text is markup; the tables of a PDF were made as Markdown's.
_MARKED: Mapping[Format, Marked] = {"markdown": "markdown", "html": "markdown", "pdf": "rows", "text": "text"}
_LINE_END = re.compile(r"[^\S\n]*(?:\n|\Z)")


@dataclass(frozen=True)
class Structure:
    """Cut where the document is divided: at headings, blocks, items of lists, then at sentences, lines, words.

    ``markup`` is how its divisions are found: ``markdown``, ``text`` (blank lines), or the document's own ``format``; headings are
    those of its sections in either case. Code, tables and formulas of Markdown, and tables of PDFs, are torn only where they are
    longer than a chunk.
    """

    markup: Literal["format", "markdown", "text"] = "format"
    language: str = "en"


@dataclass(frozen=True)
class Sentences:
    """Fill chunks with whole sentences, across paragraphs but not past a heading; one is cut only where it is longer than a chunk."""

    markup: Literal["format", "markdown", "text"] = "format"
    language: str = "en"


@dataclass(frozen=True)
class Chunk:
    """A piece of a document: ``text == document.text[start:end]``, but for ``Recursive`` with ``keep_separator="none"``, which may
    drop separators from within. ``page`` is the one on which it starts, None without pages; ``section`` the trail of headings there.
    """

    id: str
    document: str
    title: str
    section: str
    page: int | None
    start: int
    end: int
    text: str

    def row(self) -> dict[str, Any]:
        """The chunk as a row of ``chunks.jsonl``."""
        return {key: value for key, value in asdict(self).items() if value is not None}


class Splitter:
    """Cuts documents into chunks of at most ``size`` characters, or tokens where a ``tokenizer`` is given.

    ``overlap`` is how much of a chunk is repeated at the start of the next, at most, in the same unit; it is less than ``size``
    (ValueError). ``by`` says where to cut. ``tokenizer`` is a ``tokenizer.json``; InputError when it is none.
    """

    def __init__(
        self, size: int, overlap: int = 0, by: Structure | Sentences | Recursive = Structure(), tokenizer: Path | None = None
    ) -> None:
        if size < 1 or not 0 <= overlap < size:
            raise ValueError(f"chunks of {size} with an overlap of {overlap}")
        self.size, self.overlap, self.by = size, overlap, by
        self.measure: Measure = Characters() if tokenizer is None else Tokens(tokenizer)

    def split(self, document: Document) -> Iterator[Chunk]:
        """The chunks of a document in order, one by one; none for a text of white space.

        A heading that would be a chunk of its own is left out (where text follows, it is the ``section`` of that), unless there is
        nothing else, or the cutting is ``Recursive``, which is faithful.
        """
        page_starts = [page.start for page in document.pages if page.end > page.start]
        page_numbers = [page.page for page in document.pages if page.end > page.start]
        trails = _Trails(document)
        for number, (start, end, text) in enumerate(self._kept(document, trails)):
            page = page_numbers[max(0, bisect_right(page_starts, start) - 1)] if page_numbers else None
            yield Chunk(f"{document.id}#{number}", document.id, document.title, trails.at(start), page, start, end, text)

    def _kept(self, document: Document, trails: _Trails) -> Iterator[tuple[int, int, str]]:
        left_out, some = None, False
        for piece in self._pieces(document):
            if not isinstance(self.by, Recursive) and trails.only_headings(*piece[:2]):
                left_out = left_out or piece
            else:
                some = True
                yield piece
        if left_out is not None and not some:
            yield left_out

    def _pieces(self, document: Document) -> Iterator[tuple[int, int, str]]:
        text = document.text
        if isinstance(self.by, Recursive):
            yield from self.by.pieces(text, self.measure.count, self.size, self.overlap)
            return
        from runner.documents.chunks.packing import Packer

        marked = _MARKED[document.format] if self.by.markup == "format" else self.by.markup
        packer = Packer(
            text, outline(document, marked), self.measure, self.size, self.overlap,
            sentences=isinstance(self.by, Sentences), language=self.by.language,
        )  # fmt: skip
        for start, end in packer.pieces():
            yield start, end, text[start:end]


class _Trails:
    """Finds the heading under which a place stands, with those above it: ``Training > Data``. The document's title is left out."""

    def __init__(self, document: Document) -> None:
        self.text, self.starts = document.text, [section.start for section in document.sections]
        self.trails: list[str] = []
        stack: list[tuple[int, str]] = []
        for section in document.sections:
            while stack and stack[-1][0] >= section.level:
                stack.pop()
            stack.append((section.level, section.title))
            self.trails.append(" > ".join(title for _, title in stack if title != document.title))
        self.trails = [trail or document.title for trail in self.trails]

    def only_headings(self, start: int, end: int) -> bool:
        """Whether a piece is a heading, or several in a row, whole and without anything below them."""
        first, last = bisect_left(self.starts, start), bisect_right(self.starts, end - 1)
        if first == last or self.starts[first] != start or not _LINE_END.match(self.text, end):
            return False
        return last - first == sum(1 for line in self.text[start:end].split("\n") if line.strip())

    def at(self, start: int) -> str:
        """The trail at a place; "" before the first heading."""
        place = bisect_right(self.starts, start) - 1
        return self.trails[place] if place >= 0 else ""

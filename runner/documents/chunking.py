"""Cutting documents into chunks at the best boundary that fits (semantic-text-splitter), each with its place in the document."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from runner.documents.model import Document
from runner.errors import InputError

By = Literal["format", "markdown", "text"]


@dataclass(frozen=True)
class Chunk:
    """A piece of a document: ``text == document.text[start:end]``. ``page`` is the one on which it starts, None without pages."""

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

    ``overlap`` is how much of a chunk is repeated at the start of the next, at most, in the same unit. ``by`` decides which
    boundaries count: those of Markdown (headings, blocks, list items), those of plain text (blank lines, sentences), or with
    ``format`` those of each document's own format. ``tokenizer`` is a ``tokenizer.json``; InputError when it is none.
    """

    def __init__(self, size: int, overlap: int = 0, by: By = "format", tokenizer: Path | None = None) -> None:
        self.by = by
        self._splitters = {kind: _splitter(kind, size, overlap, tokenizer) for kind in ("markdown", "text")}

    def split(self, document: Document) -> Iterator[Chunk]:
        """The chunks of a document in order; none for a text of white space. A heading that would be a chunk of its own is left
        out, for it is the ``section`` of the chunk that follows."""
        kind = ("markdown" if document.format == "markdown" else "text") if self.by == "format" else self.by
        page_starts = [page.start for page in document.pages if page.end > page.start]
        page_numbers = [page.page for page in document.pages if page.end > page.start]
        trails = _Trails(document)
        pieces = self._splitters[kind].chunk_indices(document.text)
        pieces = [piece for piece in pieces if not trails.only_headings(*piece)] or pieces
        for number, (start, text) in enumerate(pieces):
            page = page_numbers[max(0, bisect_right(page_starts, start) - 1)] if page_numbers else None
            section = trails.at(start)
            yield Chunk(f"{document.id}#{number}", document.id, document.title, section, page, start, start + len(text), text)


class _Trails:
    """Finds the heading under which a place stands, with those above it: ``Training > Data``. The document's title is left out."""

    def __init__(self, document: Document) -> None:
        self.starts = [section.start for section in document.sections]
        self.trails: list[str] = []
        stack: list[tuple[int, str]] = []
        for section in document.sections:
            while stack and stack[-1][0] >= section.level:
                stack.pop()
            stack.append((section.level, section.title))
            self.trails.append(" > ".join(title for _, title in stack if title != document.title))
        self.trails = [trail or document.title for trail in self.trails]

    def only_headings(self, start: int, text: str) -> bool:
        """Whether a piece of text starts with a heading and holds nothing but headings."""
        lines = [line for line in text.split("\n") if line.strip()]
        inside = bisect_right(self.starts, start + len(text) - 1) - bisect_left(self.starts, start)
        return start in self.starts and len(lines) == inside

    def at(self, start: int) -> str:
        """The trail at a place; "" before the first heading."""
        place = bisect_right(self.starts, start) - 1
        return self.trails[place] if place >= 0 else ""


def _splitter(kind: str, size: int, overlap: int, tokenizer: Path | None) -> Any:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    splitter = MarkdownSplitter if kind == "markdown" else TextSplitter
    if tokenizer is None:
        return splitter(size, overlap)
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # tokenizers raises Exception itself
        raise InputError(f"not a tokenizer: {error}", where=str(tokenizer), remedy="name a tokenizer.json") from error
    loaded.no_truncation()
    loaded.no_padding()
    return splitter.from_huggingface_tokenizer(loaded, size, overlap)

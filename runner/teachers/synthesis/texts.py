"""The texts that questions are written about: documents or chunks, each able to tell where a quote of it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import InputError
from runner.teachers.synthesis.quotes import locate

Row = dict[str, Any]

#: Two quotes of a document without a heading or an empty line between them are of one place, unless this many characters are.
_APART = 400


@dataclass(frozen=True)
class Unit:
    """A text to write about: a whole document, or a chunk of one that begins at ``start``.

    ``pages`` are spans in the document, ``sections`` the characters of the document at which one begins.
    """

    id: str
    text: str
    document: str
    title: str = ""
    section: str = ""
    chunk: str | None = None
    start: int = 0
    page: int | None = None
    pages: Sequence[Mapping[str, int]] = ()
    sections: Sequence[int] = ()

    @classmethod
    def of_document(cls, row: Mapping[str, Any]) -> Unit:
        """From a row of ``documents.jsonl`` (docs/artifacts.md)."""
        sections = [section["start"] for section in row.get("sections") or ()]
        return cls(row["id"], row["text"], row["id"], row.get("title") or "", pages=row.get("pages") or (), sections=sections)

    @classmethod
    def of_chunk(cls, row: Mapping[str, Any]) -> Unit:
        """From a row of ``chunks.jsonl``."""
        start, title, section = int(row.get("start") or 0), row.get("title") or "", row.get("section") or ""
        return cls(row["id"], row["text"], row["document"], title, section, chunk=row["id"], start=start, page=row.get("page"))

    def source(self, quote: str) -> Row | None:
        """Where ``quote`` stands: document, chunk, page, span in the document, and the words as they stand there. None if nowhere."""
        span = locate(quote, self.text)
        if span is None:
            return None
        start, end = self.start + span[0], self.start + span[1]
        page = next((page["page"] for page in self.pages if page["start"] <= start < page["end"]), self.page)
        found = {"document": self.document, "chunk": self.chunk, "page": page, "start": start, "end": end, "quote": self.text[slice(*span)]}
        return {key: value for key, value in found.items() if value is not None}

    def apart(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether two sources in this text are of different places: another section, another paragraph, or far from each other."""
        first, second = sorted((one, other), key=lambda source: (source["start"], source["end"]))
        if any(first["start"] < section <= second["start"] for section in self.sections):
            return True
        between = self.text[first["end"] - self.start : max(first["end"], second["start"]) - self.start]
        return len(between) > _APART or re.search(r"\n[ \t]*\n", between) is not None

    def overlaps(self, other: Unit) -> bool:
        """Whether two chunks share characters of one document."""
        return self.document == other.document and self.start < other.start + len(other.text) and other.start < self.start + len(self.text)


class Texts:
    """The rows of a ``.jsonl`` file as units, read one by one or by id; no text is held in memory.

    Errors: InputError naming the line that is no JSON object.
    """

    def __init__(self, file: Path, build: Callable[[Mapping[str, Any]], Unit]) -> None:
        self.file, self._build = file, build
        self._places: dict[str, int] = {}
        self.documents: dict[str, str] = {}  # id -> the document that it belongs to
        with file.open("rb") as lines:
            for place, unit in self._read(lines):
                self._places[unit.id], self.documents[unit.id] = place, unit.document

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, id: object) -> bool:
        return id in self._places

    def __iter__(self) -> Iterator[Unit]:
        with self.file.open("rb") as lines:
            yield from (unit for _, unit in self._read(lines))

    def get(self, ids: Sequence[str]) -> Iterator[Unit]:
        """The units with these ids, in this order."""
        with self.file.open("rb") as lines:
            for id in ids:
                lines.seek(self._places[id])
                yield self._build(json.loads(lines.readline()))

    def _read(self, lines: Any) -> Iterator[tuple[int, Unit]]:
        place = 0
        for number, line in enumerate(lines, 1):
            try:
                yield place, self._build(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise InputError("no row of a document or a chunk", where=f"{self.file.name}:{number}") from None
            place += len(line)

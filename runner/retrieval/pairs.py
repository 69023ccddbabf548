"""Questions and the passages that answer them, from examples: what an embedder is tuned on and measured by."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import InputError


@dataclass(frozen=True)
class Question:
    """A question, the ids of the passages that it was asked of (at least one), and of all that answer it."""

    id: str
    text: str
    asked_of: tuple[str, ...]
    answered_by: frozenset[str]


@dataclass
class Questions:
    """``passages``: text by id, all that can be searched. ``left_out``: examples without a passage, by the reason."""

    passages: dict[str, str]
    questions: list[Question] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class Passages:
    """Chunks by id and by place, and the contexts that examples bring with them."""

    def __init__(self, chunks: Path | None = None) -> None:
        """``chunks`` is a ``chunks.jsonl``; without one, only examples that carry a ``context`` have a passage."""
        self.texts: dict[str, str] = {}
        self._places: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        self._ids: dict[str, str] = {}  # of contexts, by their text
        for row in _rows(chunks) if chunks is not None else ():
            if not isinstance(row.get("id"), str) or not isinstance(row.get("text"), str):
                raise InputError("a chunk has no `id` or no `text`", where=str(chunks))
            self.texts[row["id"]] = row["text"]
            if isinstance(row.get("start"), int) and isinstance(row.get("end"), int):
                self._places[str(row.get("document"))].append((row["start"], row["end"], row["id"]))

    def questions(self, examples: Path) -> Questions:
        """The examples of an ``examples.jsonl`` as questions with passages.

        A question is asked of the chunks that its example names; where it names none, of the chunk that holds most of its quote;
        and where there is none either, of its ``context``. It is answered by these, and by every other chunk that
        holds a whole quote: chunks may overlap, and finding the neighbour is no miss.
        """
        found = Questions(self.texts)
        for number, row in enumerate(_rows(examples), 1):
            if not isinstance(row.get("question"), str) or not row["question"].strip():
                raise InputError(f"row {number} has no `question`", where=f"{examples}:{number}")
            quotes = [source for source in [row.get("source"), *(row.get("sources") or [])] if isinstance(source, Mapping)]
            asked_of, why = self._asked_of(row, quotes)
            if asked_of:
                around = {id for quote in quotes for id, covered in self._chunks_at(quote) if covered == quote["end"] - quote["start"]}
                question = Question(str(row.get("id", number)), row["question"], asked_of, frozenset(asked_of) | around)
                found.questions.append(question)
            else:
                found.left_out[why] += 1
        return found

    def _asked_of(self, row: Mapping[str, Any], quotes: list[Mapping[str, Any]]) -> tuple[tuple[str, ...], str]:
        named = list(dict.fromkeys([*(row.get("chunks") or []), *(quote["chunk"] for quote in quotes if quote.get("chunk"))]))
        if known := tuple(id for id in named if id in self.texts):
            return known, ""
        best = [max(at, key=lambda place: place[1])[0] for quote in quotes if (at := self._chunks_at(quote))]
        if best:
            return tuple(dict.fromkeys(best)), ""
        if isinstance(context := row.get("context"), str) and context.strip():
            return (self._context(context),), ""
        return (), "names chunks that are not there" if named else "names no chunk and has no context"

    def _chunks_at(self, quote: Mapping[str, Any]) -> list[tuple[str, int]]:
        """Chunks that share characters with the quote's span in its document, and how many."""
        start, end = quote.get("start"), quote.get("end")
        if not isinstance(start, int) or not isinstance(end, int):
            return []
        shared = ((id, min(end, stop) - max(start, begin)) for begin, stop, id in self._places.get(str(quote.get("document")), ()))
        return [(id, count) for id, count in shared if count > 0]

    def _context(self, text: str) -> str:
        id = self._ids.setdefault(text, f"context {len(self._ids) + 1}")
        self.texts[id] = text
        return id


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        raise InputError("there is no such file", where=str(file))
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"row {number} is not JSON: {error}", where=f"{file}:{number}") from None
            if not isinstance(row, dict):
                raise InputError(f"row {number} is no object", where=f"{file}:{number}")
            yield row

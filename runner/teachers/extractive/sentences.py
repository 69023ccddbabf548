"""Sentences of prose in Markdown or plain text, each with its span; headings, tables, code, formulas and lists of links are passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"^\s*(```|~~~)")
_NOT_PROSE = re.compile(r"^\s*(#{1,6}\s|\||<|\$\$|!\[|\[\^|={3,}|-{3,}|\\begin|>\s*\[!)")
_MARKER = re.compile(r"^\s*(?:>\s*)?(?:[-*+•]|\d{1,2}[.)])\s+")
#: A label before a list item's sentence: "*Memory copy overhead* The daemon ...", "**Note:** The ...".
_LABEL = re.compile(r"^(\*{1,3}|_{1,2})[^*_\n]{1,80}\1\s*[:.]?\s*")
_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s|$)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|et al|etc|cf|vs|approx|resp|Fig|Figs|Eq|Eqs|Sec|Tab|No|Nos|Dr|Prof|Inc|Ltd|St|Vol|pp|al)|\b[A-Z])\.$"
)


@dataclass(frozen=True)
class Sentence:
    """``text`` is the source from ``start`` to ``end``, with line breaks made blanks. ``wrapped`` says that it has such breaks."""

    start: int
    end: int
    text: str
    wrapped: bool


def sentences(text: str) -> Iterator[Sentence]:
    """Every complete sentence of prose, in order."""
    for start, end in _paragraphs(text):
        yield from _split(text, start, end)


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    fenced = False
    start = end = -1
    offset = 0
    for line in text.splitlines(keepends=True):
        begin, offset = offset, offset + len(line)
        body = line.rstrip()
        if _FENCE.match(body):
            fenced = not fenced
            body = ""
        marker = _MARKER.match(body)
        breaks = fenced or not body.strip() or _NOT_PROSE.match(body) is not None
        if start >= 0 and (breaks or marker):
            yield start, end
            start = -1
        if breaks:
            continue
        if start < 0:
            inner = body[marker.end() :] if marker else body.lstrip()
            label = _LABEL.match(inner)
            start = begin + len(body) - len(inner) + (label.end() if label else 0)
        end = begin + len(body)
    if start >= 0:
        yield start, end


def _split(text: str, start: int, end: int) -> Iterator[Sentence]:
    begin = start
    for match in _END.finditer(text, start, end):
        stop = match.end()
        if _ABBREVIATION.search(text[max(begin, stop - 10) : stop]):
            continue
        following = text[stop:end].lstrip()[:1]
        if following and not (following.isupper() or following.isdigit() or following in "\"'“‘([`*_"):
            continue
        body = text[begin:stop]
        begin += len(body) - len(body.lstrip())
        body = text[begin:stop]
        if body:
            yield Sentence(begin, stop, re.sub(r"\s+", " ", body), "\n" in body)
        begin = stop

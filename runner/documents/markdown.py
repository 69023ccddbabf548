"""What must be known of Markdown: its headings, and the parts in which every character counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from runner.documents.model import Section

SpanKind = Literal["prose", "code", "formula", "table"]

_FENCE = re.compile(r"^ {0,3}(?:> ?)*(?:[-*+] +|\d+[.)] +)? *(`{3,}|~{3,})(.*)$")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})[ \t]*$")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$|^\s*\|\s*:?-+:?\s*\|\s*$")
_INLINE = re.compile(
    r"(?P<code>(?<!`)(?P<ticks>`+)(?!`)(?:[^\n]|\n(?!\s*\n))+?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<formula>\$\$.+?\$\$|\\\[.+?\\\]|\\\(.+?\\\)|\\begin\{(?P<env>[a-z]+\*?)\}.+?\\end\{(?P=env)\}"
    r"|(?<![\\$\w])\$(?![\s$])(?:[^$\n\\]|\\.)+?(?<![\s\\])\$(?![\d$]))",
    re.S,
)
_MARKUP = re.compile(r"!\[([^\]]*)\]\([^)]*\)|\[([^\]]*)\]\([^)]*\)|<[^>]+>|`+|(?<!\w)[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?!\w)")


@dataclass(frozen=True)
class Span:
    """A stretch of a text; ``block``: of whole lines. All spans of a text, joined, are the text."""

    kind: SpanKind
    text: str
    block: bool = False


def spans(text: str) -> Iterator[Span]:
    """Split Markdown into prose and the parts that cleaning must leave alone: code, formulas, pipe tables."""
    prose: list[str] = []
    lines = text.splitlines(keepends=True)
    index = 0
    while index < len(lines):
        end, kind = _block_end(lines, index, "".join(prose[-1:]))
        if kind == "prose":
            prose.append(lines[index])
        else:
            yield from _inline("".join(prose))
            prose = []
            yield Span(kind, "".join(lines[index:end]), block=True)
        index = end
    yield from _inline("".join(prose))


def _block_end(lines: list[str], index: int, before: str) -> tuple[int, SpanKind]:
    """Where the block that starts at a line ends, and what it is; prose is taken line by line."""
    line = lines[index]
    fence = _FENCE.match(line.rstrip("\n"))
    if fence and not (fence.group(1)[0] == "`" and "`" in fence.group(2)):
        close = re.compile(rf"^[ \t>]*{re.escape(fence.group(1)[0])}{{{len(fence.group(1))},}}[ \t]*$")
        end = next((n for n in range(index + 1, len(lines)) if close.match(lines[n].rstrip("\n"))), len(lines) - 1)
        return end + 1, "code"
    if "|" in line and index + 1 < len(lines) and _TABLE_RULE.match(lines[index + 1].rstrip("\n")):
        end = index + 2
        while end < len(lines) and "|" in lines[end] and lines[end].strip():
            end += 1
        return end, "table"
    if line.strip() in ("$$", "\\["):
        close_with = {"$$": "$$", "\\[": "\\]"}[line.strip()]
        end = next((n for n in range(index + 1, len(lines)) if lines[n].strip() == close_with), -1)
        if end > 0:
            return end + 1, "formula"
    if line.startswith(("    ", "\t")) and line.strip() and not before.strip() and not line.lstrip().startswith("<"):
        end = index + 1
        while end < len(lines) and lines[end].startswith(("    ", "\t")) and lines[end].strip():
            end += 1
        return end, "code"
    return index + 1, "prose"


def _inline(text: str) -> Iterator[Span]:
    start = 0
    for match in _INLINE.finditer(text):
        if match.start() > start:
            yield Span("prose", text[start : match.start()])
        yield Span("code" if match.group("code") else "formula", match.group())
        start = match.end()
    if start < len(text):
        yield Span("prose", text[start:])


def sections(text: str) -> list[Section]:
    """The headings (``#`` and underlined ones) of Markdown outside of code, with their offsets."""
    found: list[Section] = []
    offset = 0
    for span in _blocks(text):
        if span.kind == "prose":
            found += _headings(span.text, offset)
        offset += len(span.text)
    return found


def _blocks(text: str) -> Iterator[Span]:
    """Like :func:`spans` without cutting prose at inline code and formulas, which headings may hold."""
    prose: list[str] = []
    for span in spans(text):
        if span.block:
            yield Span("prose", "".join(prose))
            prose = []
            yield span
        else:
            prose.append(span.text)
    yield Span("prose", "".join(prose))


def _headings(text: str, offset: int) -> Iterator[Section]:
    before, place = "", offset
    for line in text.splitlines(keepends=True):
        heading, underline = _HEADING.match(line.rstrip("\n")), _UNDERLINE.match(line.rstrip("\n"))
        if heading and heading.group(2).strip():
            yield Section(len(heading.group(1)), plain(heading.group(2)), place)
        elif underline and before.strip() and not before.lstrip().startswith(("#", "-", "*", ">", "|")):
            yield Section(1 if underline.group(1)[0] == "=" else 2, plain(before), place - len(before))
        before = line
        place += len(line)


def plain(text: str) -> str:
    """A heading's text without Markdown's marks."""
    return " ".join(_MARKUP.sub(lambda match: match.group(1) or match.group(2) or "", text).split())

"""What must be known of Markdown: its headings, and the parts in which every character counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from runner.documents.model import Section

SpanKind = Literal["prose", "code", "formula", "table", "front-matter"]

#: Lines with their ends; only ``\n`` ends one, unlike for str.splitlines.
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_KEY = re.compile(r"[\w\"'.-]+\s*[:=]")
_FENCE = re.compile(r"^ {0,3}(?:> ?)*(?:[-*+] +|\d+[.)] +)? *(`{3,}|~{3,})(.*)$")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})[ \t]*$")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$|^\s*\|\s*:?-+:?\s*\|\s*$")
_INLINE = re.compile(
    r"(?P<code>(?<!`)(?P<ticks>`+)(?!`)(?:[^\n]|\n(?!\s*\n))+?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<formula>\$\$(?:(?!\n[ \t]*\n).)+?\$\$|\\\[(?:(?!\n[ \t]*\n).)+?\\\]|\\\((?:(?!\n[ \t]*\n).)+?\\\)"
    r"|\\begin\{(?P<env>[a-z]+\*?)\}.+?\\end\{(?P=env)\}"
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


def front_matter(text: str) -> str:
    """The YAML (``---``) or TOML (``+++``) at the head of a text, with the empty lines after it; "" without any."""
    mark = text[:3]
    lines = _LINES.findall(text) if mark in ("---", "+++") else []
    if not lines or lines[0].rstrip() != mark or not any(_KEY.match(line) for line in lines[1:2]):
        return ""
    end = next((number for number, line in enumerate(lines) if number and line.rstrip() in (mark, "...")), 0)
    while 0 < end < len(lines) - 1 and not lines[end + 1].strip():
        end += 1
    return "".join(lines[: end + 1]) if end else ""


def spans(text: str, *, indented: bool = True) -> Iterator[Span]:
    """Split a text into prose and the parts that cleaning must leave alone: code, formulas, pipe tables, front matter.

    ``indented``: lines that stand four spaces in are code, as in Markdown.
    """
    if front := front_matter(text):
        yield Span("front-matter", front, block=True)
        text = text[len(front) :]
    prose: list[str] = []
    lines = _LINES.findall(text)
    index = 0
    while index < len(lines):
        end, kind = _block_end(lines, index, "".join(prose[-1:]), indented)
        if kind == "prose":
            prose.append(lines[index])
        else:
            yield from _inline("".join(prose))
            prose = []
            yield Span(kind, "".join(lines[index:end]), block=True)
        index = end
    yield from _inline("".join(prose))


def _block_end(lines: list[str], index: int, before: str, indented: bool) -> tuple[int, SpanKind]:
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
    if indented and line.startswith(("    ", "\t")) and line.strip() and not before.strip() and not line.lstrip().startswith("<"):
        end = index + 1
        while end < len(lines) and lines[end].startswith(("    ", "\t")) and lines[end].strip():
            end += 1
        return end, "code"
    return index + 1, "prose"


def _inline(text: str) -> Iterator[Span]:
    if not any(sign in text for sign in "`$\\"):
        if text:
            yield Span("prose", text)
        return
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
    for line in _LINES.findall(text):
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

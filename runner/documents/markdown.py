"""What must be known of Markdown: its headings, and the parts in which every character counts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from runner.documents.model import Section

SpanKind = Literal["prose", "code", "formula", "table", "front-matter"]

#: Lines with their ends; only ``\n`` ends one, unlike for str.splitlines.
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_KEY = re.compile(r"[\w\"'.-]+\s*[:=]")
#: Possessive where two repetitions could share the same characters: a long line of spaces must not take quadratic time.
_FENCE = re.compile(r"^ {0,3}(?:> ?)*+(?:[-*+] ++|\d++[.)] ++)?+ *+(`{3,}|~{3,})(.*)$")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*)$")
_UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})[ \t]*$")
_TABLE_RULE = re.compile(r"^\s*+\|?+\s*+:?-++:?\s*+(?:\|\s*+:?-++:?\s*+)++\|?\s*+$|^\s*+\|\s*+:?-++:?\s*+\|\s*+$")
#: What opens inline code or a formula. A formula between single dollars stays in its line, and is found whole.
_OPENING = re.compile(
    r"(?<!`)(?P<ticks>`+)|(?P<display>\$\$)|\\(?P<bracket>[\[(])|\\begin\{(?P<environment>[a-z]+\*?)\}"
    r"|(?<![\\$\w])\$(?![\s$])(?:[^$\n\\]|\\.)+?(?<![\s\\])\$(?![\d$])",
    re.S,
)
_CLOSING = {"$$": "$$", "\\[": "\\]"}
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_MARKUP = re.compile(r"<[^<>]+>|`+|(?<!\w)[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?!\w)")


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
    last = {line.strip(): number for number, line in enumerate(lines) if line.strip() in _CLOSING.values()}
    index = 0
    while index < len(lines):
        end, kind = _block_end(lines, index, "".join(prose[-1:]), indented, last)
        if kind == "prose":
            prose.append(lines[index])
        else:
            yield from _inline("".join(prose))
            prose = []
            yield Span(kind, "".join(lines[index:end]), block=True)
        index = end
    yield from _inline("".join(prose))


def _block_end(lines: list[str], index: int, before: str, indented: bool, last: Mapping[str, int]) -> tuple[int, SpanKind]:
    """Where the block that starts at a line ends, and what it is; prose is taken line by line. ``last`` are the last lines
    that close a formula, by what they hold."""
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
    closing = _CLOSING.get(line.strip(), "")
    if closing and last.get(closing, -1) > index:
        return next(n for n in range(index + 1, len(lines)) if lines[n].strip() == closing) + 1, "formula"
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
    done = 0
    for start, end, kind in _inline_parts(text):
        if start > done:
            yield Span("prose", text[done:start])
        yield Span(kind, text[start:end])
        done = end
    if done < len(text):
        yield Span("prose", text[done:])


def _inline_parts(text: str) -> Iterator[tuple[int, int, SpanKind]]:
    """Start, end and kind of inline code and formulas. Takes time by the length of the text, however much in it is never closed."""
    place, limit = 0, -1
    missing: dict[str, int] = {}  # closings that are not found before a place, so as not to look for them again
    while opening := _OPENING.search(text, place):
        place = opening.start() + 1
        if limit < opening.start():  # but for environments, all of them end with their paragraph
            blank = _BLANK_LINE.search(text, opening.start())
            limit = blank.start() if blank else len(text)
        ticks, environment = opening.group("ticks"), opening.group("environment")
        if opening.group("display"):
            closing, stop = "$$", limit
        elif bracket := opening.group("bracket"):
            closing, stop = "\\]" if bracket == "[" else "\\)", limit
        elif environment:
            closing, stop = f"\\end{{{environment}}}", len(text)
        else:
            closing, stop = ticks or "", limit
        if not closing:
            end = opening.end()
        elif missing.get(closing) == stop:
            continue
        elif ticks:
            found = re.compile(f"(?<!`){ticks}(?!`)").search(text, opening.end(), stop)
            end = found.end() if found else -1
        else:
            found_at = text.find(closing, opening.end() + 1, stop)
            end = found_at + len(closing) if found_at >= 0 else -1
        if end < 0:
            missing[closing] = stop
            continue
        yield opening.start(), end, "code" if ticks else "formula"
        place = end


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
        if heading and (title := _unclosed(heading.group(2))):
            yield Section(len(heading.group(1)), plain(title), place)
        elif underline and before.strip() and not before.lstrip().startswith(("#", "-", "*", ">", "|")):
            yield Section(1 if underline.group(1)[0] == "=" else 2, plain(before), place - len(before))
        before = line
        place += len(line)


def _unclosed(title: str) -> str:
    """A heading without the number signs that may close it (``## Title ##``)."""
    title = title.strip()
    bare = title.rstrip("#")
    return title if bare and not bare[-1].isspace() else bare.rstrip()


def plain(text: str) -> str:
    """A heading's text without Markdown's marks; marks that are all there is are its text."""
    for _ in range(2):  # a link may hold an image
        text = _LINK.sub(r"\1", text)
    return " ".join(_MARKUP.sub("", text).split()) or " ".join(text.split())

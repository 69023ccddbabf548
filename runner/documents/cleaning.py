"""Named rules that clean a text. Code, formulas and tables come out of them as they went in, to the byte.

Where a rule rewrites them at all, it says the same in other signs: ``html`` makes Markdown of tables and code in HTML.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from runner.documents.aligned import aligned_runs
from runner.documents.bibliography import without_bibliography, without_last_lines
from runner.documents.markdown import front_matter, sections, spans
from runner.documents.markup import as_text, blocks_as_markdown, without_links
from runner.documents.model import Format

Rule = Literal["front-matter", "html", "links", "unicode", "control-characters", "special-symbols", "references", "whitespace"]
RULES: tuple[Rule, ...] = get_args(Rule)

#: Invisible characters, but for the joiners that scripts and emoji need and the marks that turn the direction of a line.
_INVISIBLE = {
    0x00AD,
    0x200B,
    0x2060,
    0xFEFF,
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xFFF9, 0xFFFC),
    *range(0xFDD0, 0xFDF0),
}
_LINE_ENDS = {0x0B: "\n", 0x0C: "\n", 0x85: "\n"}
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
_BULLET = re.compile(r"^([ \t]*)[•●▪◦‣∙○■□◆◇▶►](?=\s)", re.M)
#: Emoji with their modifiers and joiners, dingbats but for ticks and crosses, private characters, the replacement character.
_PICTURES = re.compile(
    "(?:[\u2600-\u260f\u2613-\u26ff\u2701-\u2704\u2706-\u2712\u2719-\u274b\u274d\u274f-\u2775\u2794-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ue000-\uf8ff\U000f0000-\U0010fffd\ufffd]"
    "[\ufe00-\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*\u200d?)+|[\ufe0e\ufe0f]\u20e3?"
)


def clean(text: str, rules: Sequence[Rule], format: Format = "markdown") -> str:
    """Apply the rules in their order.

    ``front-matter``, ``html`` and ``links`` are for marked-up texts: in a PDF or a page of HTML, which was read for what it shows,
    whatever looks like markup is the text itself, and stays. ``references`` needs headings: of a PDF it is applied to its blocks.
    """
    for rule in rules:
        if rule == "references":
            text = _without_references(text, format)
        elif rule == "front-matter":
            text = text[len(front_matter(text)) :] if format == "markdown" else text
        elif rule in ("html", "links"):
            if format not in ("markdown", "text"):
                continue
            for change in (blocks_as_markdown, as_text) if rule == "html" else (without_links(text),):
                text = _around(text, change, format)
        else:
            text = _outside(text, _RULES[rule], format)
    return text


def _outside(text: str, change: Callable[[str], str], format: Format) -> str:
    """Change the prose alone."""
    return "".join(change(span.text) if span.kind == "prose" else span.text for span in spans(text, indented=format == "markdown"))


def _around(text: str, change: Callable[[str], str], format: Format) -> str:
    """Change the prose by a rule that looks across code and formulas within it: they are held by signs meanwhile."""
    opening, closing = _unused(text)
    held: list[str] = []
    parts: list[str] = []
    prose: list[str] = []

    def flush() -> None:
        changed = change("".join(prose))
        parts.append(re.sub(f"{opening}(\\d+){closing}", lambda match: held[int(match.group(1))], changed))
        prose.clear()

    for span in spans(text, indented=format == "markdown"):
        if span.block and span.kind != "prose":
            flush()
            parts.append(span.text)
        elif span.kind == "prose":
            prose.append(span.text)
        else:
            prose.append(f"{opening}{len(held)}{closing}")
            held.append(span.text)
    flush()
    return "".join(parts)


def _unused(text: str) -> tuple[str, str]:
    """Two characters that stand for nothing and are not in a text."""
    free = (chr(code) for code in range(0xFDD0, 0xFDF0) if chr(code) not in text)
    return next(free, "\ufffe"), next(free, "\uffff")


def _without_references(text: str, format: Format) -> str:
    if format == "pdf":
        return text
    return without_last_lines(text) if format == "text" else without_bibliography(text, sections(text))


def _unicode(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _control_characters(text: str) -> str:
    return "".join(c for c in text.translate(_LINE_ENDS) if c in "\n\t" or not _is_control(c))


def _is_control(c: str) -> bool:
    code = ord(c)
    return unicodedata.category(c) in ("Cc", "Cs") or code in _INVISIBLE or code & 0xFFFE == 0xFFFE


def _special_symbols(text: str) -> str:
    return _PICTURES.sub("", _BULLET.sub(r"\1-", text.translate(_LIGATURES)))


def _whitespace(text: str) -> str:
    text = re.sub(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]", " ", text).replace("\u2028", "\n").replace("\u2029", "\n\n")
    text = aligned_runs(text)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"(?<![ \t])[ \t]+\n", "\n", text))


_RULES: dict[Rule, Callable[[str], str]] = {
    "unicode": _unicode,
    "control-characters": _control_characters,
    "special-symbols": _special_symbols,
    "whitespace": _whitespace,
}

"""Named rules that clean a text. Code, formulas and tables of Markdown come out of them as they went in.

One exception: an HTML table becomes a pipe table, which says the same.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from runner.documents.markdown import spans
from runner.documents.model import Format

Rule = Literal["html", "links", "control-characters", "special-symbols", "whitespace"]
RULES: tuple[Rule, ...] = get_args(Rule)

#: Elements that start a line, and elements within one. What is neither is no tag: ``<think>`` stays.
_BREAKING = (
    "address|article|blockquote|br|center|details|div|dd|dl|dt|figure|figcaption|footer|h[1-6]|header|hr|li|main|nav|ol|p|pre"
    "|section|summary|table|tbody|thead|tr|ul"
)
_FLOWING = (
    "a|abbr|b|big|cite|code|del|em|font|i|img|input|ins|kbd|label|link|mark|meta|picture|q|s|samp|small|source|span|strike|strong"
    "|sub|sup|svg|path|td|th|tt|u|var|video|wbr"
)
_TAG = re.compile(rf"</?(?:(?P<breaking>{_BREAKING})|{_FLOWING})(?:\s[^<>]*)?/?>", re.I)
_DROPPED = re.compile(r"<!--.*?-->|<(script|style|svg)\b.*?</\1\s*>", re.S | re.I)
_ENTITY = re.compile(r"&(?:[a-z][a-z0-9]{1,30}|#\d{1,7}|#x[0-9a-f]{1,6});", re.I)
_TABLE = re.compile(r"<table\b.*?</table\s*>", re.S | re.I)
_ROW = re.compile(r"<tr\b[^>]*>(.*?)(?=<tr\b|</tr\s*>|</table\s*>)", re.S | re.I)
_CELL = re.compile(r"<t[hd]\b[^>]*>(.*?)(?=<t[hd]\b|</t[hd]\s*>|$)", re.S | re.I)
_IMAGE = re.compile(r"!\[([^\]]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+[\"'][^\"']*[\"'])?\)")
_LINK = re.compile(r"\[([^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+[\"'][^\"']*[\"'])?\)")
_BADGE = re.compile(r"^[ \t]*(?:badge|logo|license|build|chat|hugging face)?[ \t]*$", re.I)
#: Zero-width and invisible characters, but for the joiners that scripts and emoji need.
_INVISIBLE = {0x00AD, 0x200B, 0x2060, 0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC)}
_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
_KEPT_SYMBOLS = frozenset("°©®™№℃℉℗Ω℧←↑→↓↔↕⇒⇐⇔⇑⇓✓✗✔✘")
_BULLETS = dict.fromkeys(map(ord, "•●▪◦‣∙○■□◆◇▶►"), "-")


def clean(text: str, rules: Sequence[Rule], format: Format = "markdown") -> str:
    """Apply the rules in their order. ``format`` tells what is protected: code, formulas and tables of Markdown.

    ``html`` and ``links`` are for marked-up texts; in a PDF whatever looks like a tag is the text itself, and stays.
    """
    for rule in rules:
        if format == "pdf" and rule in ("html", "links"):
            continue
        if format != "markdown":
            text = _RULES[rule](text)
            continue
        if rule == "html":
            text = _outside(text, lambda part: _TABLE.sub(_pipe_table, _DROPPED.sub("", part)), whole_blocks=True)
        text = _outside(text, _RULES[rule])
    return text


def _outside(text: str, change: Callable[[str], str], whole_blocks: bool = False) -> str:
    """Change the prose alone. ``whole_blocks``: prose is not cut at inline code and formulas, for rules that span lines."""
    parts: list[str] = []
    prose: list[str] = []
    for span in spans(text):
        if span.kind == "prose" or (whole_blocks and not span.block):
            prose.append(span.text)
            continue
        parts += [change("".join(prose)), span.text]
        prose = []
    return "".join([*parts, change("".join(prose))])


def _html(text: str) -> str:
    text = _TAG.sub(lambda match: "\n" if match.group("breaking") else "", _DROPPED.sub("", text))
    return _ENTITY.sub(lambda match: html.unescape(match.group()), text)


def _pipe_table(match: re.Match[str]) -> str:
    """A pipe table in place of an HTML table; of one without cells only the text."""
    rows = [[_cell(cell) for cell in _CELL.findall(row)] for row in _ROW.findall(match.group())]
    rows = [row for row in rows if any(row)]
    if not rows:
        return match.group()
    width = max(map(len, rows))
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
    return "\n\n" + "\n".join([lines[0], "|" + "---|" * width, *lines[1:]]) + "\n\n"


def _cell(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", text)).split()).replace("|", "\\|")


def _links(text: str) -> str:
    text = _IMAGE.sub(lambda match: "" if _BADGE.match(match.group(1)) else match.group(1), text)
    return _LINK.sub(lambda match: match.group(1), text)


def _control_characters(text: str) -> str:
    return "".join(c for c in text if c in "\n\t" or not (unicodedata.category(c) in ("Cc", "Cs", "Cn") or ord(c) in _INVISIBLE))


def _special_symbols(text: str) -> str:
    text = "".join(_LIGATURES.get(c, c) for c in text).translate(_BULLETS)
    return "".join(c for c in text if c in _KEPT_SYMBOLS or not _is_special(c))


def _is_special(c: str) -> bool:
    """Pictures and ornaments, private characters, replacement characters, and the selectors and joiners of emoji."""
    code = ord(c)
    picture = unicodedata.category(c) == "So" and not 0x2100 <= code < 0x2150
    return picture or unicodedata.category(c) == "Co" or 0xFE00 <= code <= 0xFE0F or 0x1F3FB <= code <= 0x1F3FF


def _whitespace(text: str) -> str:
    text = re.sub(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]", " ", text).replace("\u2028", "\n").replace("\u2029", "\n\n")
    text = re.sub(r"(?<=\S)[ \t]{2,}(?=\S)", " ", text)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text))


_RULES: dict[Rule, Callable[[str], str]] = {
    "html": _html,
    "links": _links,
    "control-characters": _control_characters,
    "special-symbols": _special_symbols,
    "whitespace": _whitespace,
}

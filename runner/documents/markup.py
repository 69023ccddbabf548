"""HTML and links inside of Markdown and plain text, as prose."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

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
_PRE = re.compile(r"<pre\b[^>]*>(?:\s*<code\b[^>]*>)?\n?(.*?)(?:</code>\s*)?</pre\s*>", re.S | re.I)
_CODE = re.compile(r"<(code|tt|kbd|samp)\b[^>]*>([^<>`\n]+)</\1\s*>", re.I)
_SCRIPT = re.compile(r"<(sup|sub)\b[^>]*>\s*([^<>\n]+?)\s*</\1\s*>", re.I)
_TARGET = r"\((?:[^()\s]|\([^()\s]*\))*(?:\s+[\"'][^\"'\n]*[\"'])?\)"
_IMAGE = re.compile(rf"!\[([^\]]*)\]({_TARGET})")
_LINK = re.compile(rf"\[([^\[\]]*)\]{_TARGET}")
_BADGE = re.compile(r"shields\.io|badge", re.I)
_DEFINITION = re.compile(r"^ {0,3}\[([^\]^\n][^\]\n]*)\]:[ \t]*\S+(?:[ \t]+(?:\"[^\"\n]*\"|'[^'\n]*'|\([^)\n]*\)))?[ \t]*(?:\n|\Z)", re.M)
_REFERENCE = re.compile(r"(!?)\[([^\[\]]+)\](?:\[([^\[\]\n]*)\])?(?![\[(:])")


def blocks_as_markdown(text: str) -> str:
    """Tables and preformatted code of HTML as Markdown's, which the rules leave alone; comments, scripts and pictures dropped."""
    text = _PRE.sub(_fence, text)
    parts = re.split(r"(^```.*?^```$)", text, flags=re.S | re.M) if "```" in text else [text]
    return "".join(part if number % 2 else _TABLE.sub(_pipe_table, _DROPPED.sub("", part)) for number, part in enumerate(parts))


def as_text(text: str) -> str:
    """Text without tags, comments and entities; code and exponents keep a sign of what they are."""
    text = _CODE.sub(lambda match: f"`{html.unescape(match.group(2))}`", _DROPPED.sub("", text))
    text = _SCRIPT.sub(lambda match: ("^" if match.group(1).lower() == "sup" else "_") + _grouped(match.group(2)), text)
    text = _TAG.sub(lambda match: "\n" if match.group("breaking") else "", text)
    return _ENTITY.sub(lambda match: html.unescape(match.group()), text)


def _grouped(script: str) -> str:
    return script if re.fullmatch(r"[-+−]?\w+", script) else f"({script})"


def _fence(match: re.Match[str]) -> str:
    code = html.unescape(_TAG.sub("", match.group(1))).strip("\n")
    return f"\n```\n{code}\n```\n" if code.strip() and "```" not in code else match.group()


def _pipe_table(match: re.Match[str]) -> str:
    """A pipe table in place of an HTML table; one without cells, or there for the layout, stays for the tags to be taken off."""
    from bs4 import BeautifulSoup

    from runner.documents.html.tables import is_layout, pipe_table

    table = BeautifulSoup(match.group(), "lxml").table
    if table is None or is_layout(table):
        return match.group()
    made = pipe_table(table, lambda cell: as_text(cell.decode_contents()).replace("\n", " "))
    return f"\n\n{made}\n\n" if made else match.group()


def without_links(whole: str) -> Callable[[str], str]:
    """A function that takes the targets of links and images off a part of ``whole``, whose definitions of links it knows."""
    defined = {" ".join(name.lower().split()) for name in _DEFINITION.findall(whole)}

    def change(text: str) -> str:
        text = _IMAGE.sub(lambda match: "" if _BADGE.search(match.group(2)) else match.group(1), text)
        text = _LINK.sub(lambda match: match.group(1), text)
        if not defined:
            return text
        text = _DEFINITION.sub("", text)
        return _REFERENCE.sub(
            lambda match: match.group(2) if " ".join((match.group(3) or match.group(2)).lower().split()) in defined else match.group(), text
        )

    return change

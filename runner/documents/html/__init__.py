"""Web pages as Markdown: the main content, with headings, lists, tables, code and formulas as their authors wrote them.

markdownify converts; what it must not touch (code, formulas) is set aside before and put back after.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

from bs4 import BeautifulSoup, Comment, Tag
from bs4.element import NavigableString

from runner.documents.html.content import content
from runner.documents.html.formulas import formulas
from runner.documents.html.tables import BLOCK, is_layout, pipe_table, unwrap_layout

#: Stands for a part that is put back after the conversion; both characters are allowed in no HTML.
_OPEN, _CLOSE = "\x02", "\x03"
_HELD = re.compile(rf"{_OPEN}(\d+){_CLOSE}")
#: A held block that is alone in its line, whatever list or quotation it stands in.
_HELD_LINE = re.compile(rf"^[ \t>]*(?:[-*+] +|\d+[.)] +)?{_OPEN}(\d+){_CLOSE}[ \t]*$", re.M)
_LANGUAGE = re.compile(r"(?:lang(?:uage)?-|highlight-(?:source-)?|brush:\s*)([\w+#-]+)")
_DEEPEST = 20_000


@dataclass(frozen=True)
class WebPage:
    """A page as Markdown. ``title`` is its only top heading, else what its head says."""

    title: str
    text: str


def read_html(source: str) -> WebPage:
    """The content of a page; no text where it has none. Malformed markup is read as browsers do."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _DEEPEST))  # the conversion goes as deep as the page does
    page = BeautifulSoup(source.replace(_OPEN, "").replace(_CLOSE, ""), "lxml")
    head = _line(page.title) if page.title is not None else ""
    held: list[str] = []
    for element, tex, display in formulas(page):
        if not display and element.find_parent(["td", "th"]) is not None:  # a bar would end the cell
            tex = tex.replace("\\|", "\\Vert ").replace("|", "\\vert ")
        element.replace_with(_hold(held, f"$$\n{tex}\n$$" if display else f"${tex}$", display) if tex else "")
    root = content(page)
    for table in root.find_all("table"):
        if is_layout(table):
            unwrap_layout(table)
    for code in root.find_all("pre"):
        if code.parent is not None:
            code.replace_with(_hold(held, _put_back(_fence(code), held), True))
    text = _converter().convert_soup(root)
    text = _HELD_LINE.sub(rf"\n\n{_OPEN}\1{_CLOSE}\n\n", text)
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r"(?<![ \t])[ \t]+$", "", text, flags=re.M))
    return WebPage(_title(root, head), _put_back(text, held).strip("\n"))


def _hold(held: list[str], text: str, block: bool) -> NavigableString | Tag:
    held.append(text)
    mark = NavigableString(f"{_OPEN}{len(held) - 1}{_CLOSE}")
    if not block:
        return mark
    paragraph = Tag(name="p", attrs={"class": BLOCK})
    paragraph.append(mark)
    return paragraph


def _put_back(text: str, held: list[str]) -> str:
    return _HELD.sub(lambda match: held[int(match.group(1))], text)


def _fence(pre: Tag) -> str:
    for line_break in pre.find_all("br"):
        line_break.replace_with("\n")
    text = "".join(str(part) for part in pre.strings if not isinstance(part, Comment)).removeprefix("\n").rstrip("\n")
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks}{_language(pre)}\n{text}\n{ticks}"


def _language(pre: Tag) -> str:
    inner = pre.find("code")
    around = [inner if isinstance(inner, Tag) else pre, pre, *list(pre.parents)[:2]]
    for element in around:
        classes = " ".join(element.get("class") or []) if isinstance(element, Tag) else ""
        if found := _LANGUAGE.search(classes):
            return "" if found.group(1) in ("default", "none", "text", "plaintext") else found.group(1)
    return ""


def _title(root: Tag, head: str) -> str:
    """The page's only top heading, else the title in its head, else its first heading."""
    headings = [(heading.name, text) for heading in root.find_all(re.compile("^h[1-6]$")) if (text := _line(heading))]
    top = [text for name, text in headings if name == "h1"]
    return top[0] if len(top) == 1 else head or (headings[0][1] if headings else "")


def _line(element: Tag) -> str:
    return " ".join(element.get_text().split()).strip("¶#§🔗 ")


@cache
def _converter() -> Any:
    import markdownify

    class Converter(markdownify.MarkdownConverter):  # type: ignore[misc,unused-ignore]
        """Links are their texts and pictures their descriptions: an address says nothing to a model."""

        def convert_a(self, element: Tag, text: str, parent_tags: set[str]) -> str:
            anchor = "_inline" in parent_tags and text.strip() in ("¶", "#", "§", "🔗")  # a heading's link to itself
            return "" if anchor else text

        def convert_img(self, element: Tag, text: str, parent_tags: set[str]) -> str:
            return " ".join(str(element.get("alt") or "").split())

        def convert_table(self, element: Tag, text: str, parent_tags: set[str]) -> str:
            return f"\n\n{pipe_table(element, self._cell)}\n\n"

        def _cell(self, element: Tag) -> str:
            converter: Any = self
            return "".join(converter.process_element(child, parent_tags={"td", "_inline"}) for child in element.children)

        def convert_caption(self, element: Tag, text: str, parent_tags: set[str]) -> str:
            return f"\n\n{text.strip()}\n\n"

        convert_tr = convert_td = convert_th = convert_caption

        def convert_sup(self, element: Tag, text: str, parent_tags: set[str]) -> str:
            return _script("^", element, text)

        def convert_sub(self, element: Tag, text: str, parent_tags: set[str]) -> str:
            return _script("_", element, text)

    return Converter(heading_style="atx", bullets="-", escape_asterisks=False, escape_underscores=False, escape_misc=False)


def _script(mark: str, element: Tag, text: str) -> str:
    """``10^-5`` and ``H_2O``; but a footnote's mark, which is a link, as it is."""
    inner = text.strip()
    if not inner or element.find("a") is not None or element.find_parent("a") is not None or inner.startswith("["):
        return text
    return f"{mark}{inner}" if re.fullmatch(r"[-+−]?\w+", inner) else f"{mark}({inner})"

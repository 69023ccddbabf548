"""What of a web page is its content, and what belongs to the site around it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bs4 import BeautifulSoup, Comment, Tag
from bs4.element import CData, Declaration, Doctype, ProcessingInstruction

#: Elements that hold no text for a reader.
_SILENT = (
    "script", "style", "template", "noscript", "iframe", "object", "embed", "svg", "canvas", "audio", "video", "title", "base", "link",
    "meta", "button", "input", "select", "textarea", "option", "datalist", "rp", "rt",
)  # fmt: skip
_ROLES = {"navigation", "banner", "contentinfo", "search", "dialog", "alertdialog", "menu", "menubar", "toolbar", "tablist"}
#: Words in an element's class or id that tell of the site and not of the page.
_SITE = frozenset({
    "cookie", "cookies", "consent", "gdpr", "breadcrumb", "breadcrumbs", "navbar", "navigation", "navbox", "sidebar", "toc",
    "newsletter", "subscribe", "advert", "advertisement", "ads", "popup", "modal", "pagination", "pager", "skip", "skiplink",
    "headerlink", "permalink", "editsection", "linenos", "lineno", "linenodiv", "gutter", "share", "sharing", "social", "related",
    "comments", "noprint",
})  # fmt: skip
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def content(page: BeautifulSoup) -> Tag:
    """The element that holds the page's content, cleared of what is not. Changes ``page``.

    ``main``, else the only ``article``, else ``body``. Where nothing would be left, only what is silent is taken out.
    """
    for note in page.find_all(string=lambda text: isinstance(text, (Comment, CData, Declaration, Doctype, ProcessingInstruction))):
        note.extract()
    _remove([*page.find_all(_SILENT), *page.select(".ltx_tag_item")])  # LaTeXML writes the signs of list items out
    # The parser takes the first elements of a page that does not say where its body begins for a part of its head.
    body = page.body if page.body is not None and not (page.head and page.head.get_text(strip=True)) else page
    if not body.get_text(strip=True):
        return body
    root = _root(body)
    whole = len(root.get_text(strip=True))
    unwanted = [element for element in root.find_all(True) if _is_site(element, root, whole)]
    kept = whole - sum(len(element.get_text(strip=True)) for element in _outermost(unwanted))
    if kept > 0:
        _remove(unwanted)
    return root


def _root(body: Tag) -> Tag:
    for found in (body.select("main, [role=main]"), body.find_all("article")):
        outer = [element for element in _outermost(found) if element.get_text(strip=True)]
        if len(outer) == 1:
            return outer[0]
    return body


def _outermost(elements: list[Tag]) -> list[Tag]:
    chosen = {id(element) for element in elements}
    return [element for element in elements if not any(id(parent) in chosen for parent in element.parents)]


def _remove(elements: Iterable[Tag]) -> None:
    for element in elements:
        if not element.decomposed:
            element.decompose()


def _is_site(element: Tag, root: Tag, whole: int) -> bool:
    if element.name == "nav" or element.name == "dialog" or element.has_attr("hidden") or element.get("aria-hidden") == "true":
        return True
    if str(element.get("role") or "").lower() in _ROLES:
        return True
    if re.search(r"display\s*:\s*none|visibility\s*:\s*hidden", str(element.get("style") or "")):
        return True
    if element.name in ("header", "footer", "aside"):
        if element.name != "aside" and element.find("h1") is not None:
            return False
        inside = element.find_parent(["main", "article"]) is not None or root.name in ("main", "article")
        return not inside or element.name == "footer" or _is_links(element)
    if element.name in ("article", "main", "body", "h1", "p", "code") or not _names(element) & _SITE:
        return False
    return len(element.get_text(strip=True)) <= whole / 2 and element.find("h1") is None


def _names(element: Tag) -> set[str]:
    given = [*(element.get("class") or []), str(element.get("id") or "")]
    return {word.lower() for name in given for word in _WORDS.findall(name)}


def _is_links(element: Tag) -> bool:
    linked = sum(len(part.get_text(strip=True)) for part in element.find_all(["a", re.compile("^h[1-6]$")]))
    return element.find("a") is not None and linked > 0.5 * len(element.get_text(strip=True))

"""Formulas of web pages as TeX: MathML with its annotation, KaTeX, MathJax, MediaWiki's, LaTeXML's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_DISPLAY = re.compile(r"\\displaystyle\s*")
_SCRIPT = re.compile(r"math/(?:tex|asciimath)\s*(?:;\s*mode\s*=\s*(display))?", re.I)
#: What shows a formula to the eye beside its source; it would be read twice.
_SHOWN = (
    ".katex-html, .MathJax_Preview, .MathJax, .MathJax_SVG, .MathJax_CHTML, mjx-math, "
    ".mwe-math-fallback-image-inline, .mwe-math-fallback-image-display"
)


def formulas(page: BeautifulSoup) -> Iterator[tuple[Tag, str, bool]]:
    """Every formula of a page as (element that stands for it, TeX, whether it is displayed). Takes out what repeats them."""
    found: list[tuple[Tag, str, bool]] = []
    for math in page.find_all("math"):
        tex = _tex(math)
        displayed = math.find_parent(class_=re.compile("katex-display|MathJax_Display|mwe-math-element-block|ltx_equation"))
        wrapper = math.find_parent(class_="mwe-math-element")  # which hides the source and shows a picture
        found.append((wrapper or math, tex, math.get("display") == "block" or displayed is not None))
    for script in page.find_all("script", type=_SCRIPT):
        kind = _SCRIPT.match(str(script.get("type")))
        found.append((script, script.get_text(), bool(kind and kind.group(1))))
    if found:
        for element in page.select(_SHOWN):
            if element.find(["math", "script"]) is None:
                element.decompose()
    yield from ((element, " ".join(tex.split()) if "%" not in tex else tex.strip(), display) for element, tex, display in found)


def _tex(math: Tag) -> str:
    annotation = math.find("annotation", encoding=re.compile("tex", re.I))
    tex = annotation.get_text() if annotation is not None else str(math.get("alttext") or "")
    if not tex.strip():
        return linear(math)
    return _unbraced(_DISPLAY.sub("", tex.strip()).strip())


def _unbraced(tex: str) -> str:
    """TeX without the braces around all of it, which MediaWiki adds."""
    depth = 0
    for place, sign in enumerate(tex):
        escaped = place > 0 and tex[place - 1] == "\\"
        depth += 0 if escaped else (sign == "{") - (sign == "}")
        if depth == 0:
            return tex[1:-1].strip() if place and place == len(tex) - 1 else tex
    return tex


def linear(node: Tag) -> str:
    """MathML that has no source beside it, written in a line: ``x^{2}``, ``\\frac{a}{b}``, ``\\sqrt{x}``."""
    from bs4 import Tag

    parts = [linear(child) if isinstance(child, Tag) else " ".join(str(child).split()) for child in node.children]
    filled = [part for part in parts if part]
    match node.name, filled:
        case (("annotation" | "annotation-xml"), _):
            return ""
        case (("msup" | "mover"), [base, top]):
            return f"{base}^{{{top}}}"
        case (("msub" | "munder"), [base, low]):
            return f"{base}_{{{low}}}"
        case (("msubsup" | "munderover"), [base, low, top]):
            return f"{base}_{{{low}}}^{{{top}}}"
        case "mfrac", [above, under]:
            return f"\\frac{{{above}}}{{{under}}}"
        case "msqrt", _:
            return f"\\sqrt{{{' '.join(filled)}}}"
        case ("mtr", _):
            return " & ".join(filled)
        case ("mtable", _):
            return " \\\\ ".join(filled)
        case _:
            return " ".join(filled)

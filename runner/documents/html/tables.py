"""Tables of HTML as pipe tables of Markdown, with cells that span rows or columns said once in each place they cover."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import Tag

#: What does not fit into a cell of a pipe table: a table that holds it is there for the layout.
_BLOCKS = ("table", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "dl", "hr")
#: Class of a paragraph that stands for a block; set by the reader of the page.
BLOCK = "held-block"
_WIDEST = 1000  # a span that claims more columns or rows than this is a mistake


def is_layout(table: Tag) -> bool:
    """Whether a table arranges a page and holds no data: it says so, has one cell in every row, or holds other blocks."""
    if table.get("role") in ("presentation", "none") or table.find(_BLOCKS) is not None or table.find(class_=BLOCK) is not None:
        return True
    return all(len(row.find_all(["td", "th"])) <= 1 for row in table.find_all("tr")) and table.find("th") is None


def unwrap_layout(table: Tag) -> None:
    """Make blocks of a table's cells, in their order."""
    parts = [
        part for part in table.find_all(["tbody", "thead", "tfoot", "tr", "td", "th", "caption"]) if part.find_parent("table") is table
    ]
    for part in [table, *parts]:
        part.name = "div"


def pipe_table(table: Tag, text: Callable[[Tag], str]) -> str:
    """A pipe table without lines around it, after its caption; "" for a table without text. ``text`` gives that of a cell or caption."""
    rows = _grid(table, text)
    rows = [row for row in rows if any(row)]
    if not rows:
        return ""
    width = max(map(len, rows))
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
    caption = table.find("caption")
    above = f"{' '.join(text(caption).split())}\n\n" if caption is not None and text(caption).strip() else ""
    return above + "\n".join([lines[0], "|" + "---|" * width, *lines[1:]])


def _grid(table: Tag, text: Callable[[Tag], str]) -> list[list[str]]:
    grid: list[list[str]] = []
    below: dict[int, tuple[int, str]] = {}  # column -> rows that a cell still reaches down, and its text
    for row in table.find_all("tr"):
        cells: list[str] = []
        given = iter(row.find_all(["td", "th"]))
        while True:
            if len(cells) in below:
                left, content = below.pop(len(cells))
                if left > 1:
                    below[len(cells)] = (left - 1, content)
                cells.append(content)
                continue
            cell = next(given, None)
            if cell is None:
                if not any(column >= len(cells) for column in below):
                    break
                cells.append("")
                continue
            content = re.sub(r"(?<!\\)\|", r"\\|", " ".join(text(cell).split()))
            for _ in range(_span(cell, "colspan")):
                if (down := _span(cell, "rowspan")) > 1:
                    below[len(cells)] = (down - 1, content)
                cells.append(content)
        grid.append(cells)
    return grid


def _span(cell: Tag, name: str) -> int:
    value = str(cell.get(name) or "1").strip()
    return min(max(1, int(value)), _WIDEST) if value.isdecimal() else 1

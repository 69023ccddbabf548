"""Reads a drawing back: where its axes say that a value lies, and where things were drawn."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

Element = ElementTree.Element
_NAME = "{http://www.w3.org/2000/svg}"


class Read:
    """A drawing as elements; positions in its own units."""

    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(svg)  # a drawing that is no XML fails here

    def all(self, name: str) -> list[Element]:
        return [element for element in self.root.iter() if element.tag.removeprefix(_NAME) == name]

    def texts(self, style: str = "") -> list[Element]:
        return [element for element in self.all("text") if style in element.get("style", "")]

    def told(self, name: str) -> dict[str, Element]:
        """Elements of a name by what is shown when they are pointed at."""
        return {title.text or "": element for element in self.all(name) for title in element if title.tag.removeprefix(_NAME) == "title"}

    def across(self, anchor: str = "middle") -> list[tuple[float, float]]:
        """Numbers under the horizontal axis, with where they stand."""
        found = [(number(text.text), float(text.get("x", "nan"))) for text in self.texts("--muted") if text.get("text-anchor") == anchor]
        return [(value, place) for value, place in found if value is not None]

    def upright(self) -> list[tuple[float, float]]:
        """Numbers at the upright axis, with the height that they stand for."""
        found = [(number(text.text), float(text.get("y", "nan")) - 4) for text in self.texts("--muted") if text.get("text-anchor") == "end"]
        return [(value, place) for value, place in found if value is not None]


def number(text: str | None) -> float | None:
    try:
        return float((text or "").replace(",", "").replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        return None


def place_of(value: float, ticks: list[tuple[float, float]], log: bool = False) -> float:
    """Where a value lies by what the axis says, from its first and last tick."""
    (low, start), (high, end) = ticks[0], ticks[-1]
    if log:
        value, low, high = (math.log(each) for each in (value, low, high))
    return start + (value - low) / (high - low) * (end - start)


def corner(path: Element) -> tuple[float, float]:
    """The middle of a mark, from its corners; of a circle from where its outline begins."""
    data = path.get("d", "")
    points = [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", data)]
    if "a" in data:
        radius = float(re.search(r"a([\d.]+)", data)[1])  # type: ignore[index]
        return points[0][0] + radius, points[0][1]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2

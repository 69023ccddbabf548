"""Inline SVG in the page's own colours, light and dark: elements, scales with readable ticks, and axes with titles.

Drawn here and not by a plotting library, because a page needs what those lack: colours that follow the reader's scheme, texts
on every mark, legends that wrap on a phone, and no second of import in a run where nothing changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from runner.reports.formats import number

#: Width of every drawing in its own units, which are CSS pixels where the page is wide enough, and the size of its text.
WIDTH, TEXT = 460.0, 12.0
#: Colours of series, in the page's CSS; they repeat after that, and never stand without a mark's shape beside them.
COLOURS = 8
_NARROW, _BROAD = frozenset("iIjltfr.,:;|!'()[] -·"), frozenset("mwMWOQG@%—")


@dataclass(frozen=True)
class Scale:
    """Values to positions: ``start`` at ``low``, ``end`` at ``high``; by their logarithms where ``log`` is set."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, log: bool = False, zero: bool = False, room: float = 0.06) -> Scale:
        """A scale on which all ``values`` lie, with ``room`` on both sides; from zero on where asked for."""
        low, high = min(values), max(values)
        if zero:
            low, high = min(0.0, low), max(0.0, high)
        if log:
            spread = math.log(high / low) if high > low else math.log(2.0)
            return cls(low * math.exp(-room * spread), high * math.exp(room * spread), start, end, True)
        spread = high - low or abs(high) or 1.0
        return cls(low if zero and low == 0 else low - room * spread, high + room * spread, start, end)

    def __call__(self, value: float) -> float:
        part = math.log(value / self.low) / math.log(self.high / self.low) if self.log else (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self, wanted: int = 4) -> list[float]:
        """About ``wanted`` round values on the scale, at steps of 1, 2, 2.5 or 5 times a power of ten."""
        if self.log:
            for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
                powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
                found = [value for power in powers for step in steps if self.low <= (value := step * 10.0**power) <= self.high]
                if len(found) >= min(3, wanted):
                    every = math.ceil(len(found) / (wanted + 2))
                    return found[::every]
        power = 10.0 ** math.floor(math.log10(self.high - self.low))
        for step in (step * scale for scale in (power, power / 10) for step in (5, 2.5, 2, 1, 0.5)):
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            if last - first + 1 >= wanted - 1:
                return [index * step for index in range(first, last + 1)]
        return [self.low, self.high]


class Drawing:
    """An ``svg`` element in the making. ``about`` is what a reader hears who does not see it; without it, it only adorns a text."""

    def __init__(self, height: float, about: str, width: float = WIDTH) -> None:
        self.width, self.height, self.about, self._parts = width, height, about, list[str]()

    def add(self, name: str, style: str, title: str = "", **attributes: float | str) -> None:
        """An element; ``title`` is shown when it is pointed at. Attributes in the names of SVG, with ``_`` for a hyphen."""
        written = "".join(f' {key.replace("_", "-")}="{_written(value)}"' for key, value in attributes.items())
        inside = f"<title>{escape(title)}</title></{name}>" if title else ""
        self._parts.append(f'<{name}{written} style="{style}"{">" + inside if inside else "/>"}')

    def text(self, x: float, y: float, text: str, anchor: str = "start", ink: str = "ink", size: float = TEXT, full: str = "") -> None:
        title = f"<title>{escape(full)}</title>" if full and full != text else ""
        place = f'x="{_written(x)}" y="{_written(y)}" text-anchor="{anchor}" font-size="{_written(size)}"'
        self._parts.append(f'<text {place} style="fill:var(--{ink})">{escape(text)}{title}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0, dash: str = "", title: str = "") -> None:
        style = f"stroke:var(--{colour});stroke-width:{width:g}" + (f";stroke-dasharray:{dash}" if dash else "")
        self.add("line", style, title, x1=x1, y1=y1, x2=x2, y2=y2)

    def path(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1.8, dash: str = "") -> None:
        style = f"fill:none;stroke:var(--{colour});stroke-width:{width:g};stroke-linejoin:round" + (
            f";stroke-dasharray:{dash}" if dash else ""
        )
        self.add("path", style, d="M" + "L".join(f"{_written(x)},{_written(y)}" for x, y in points))

    def mark(self, x: float, y: float, series: int, title: str = "", hollow: bool = False, colour: str = "", size: float = 4.2) -> None:
        """The sign of a series: its colour and its shape."""
        colour = colour or series_colour(series)
        style = f"fill:var(--{'paper' if hollow else colour});stroke:var(--{colour});stroke-width:1.6;stroke-linejoin:round"
        self.add("path", style, title, d=_shape(series, x, y, size))

    def __str__(self) -> str:
        box = f'viewBox="0 0 {_written(self.width)} {_written(self.height)}"'
        if self.about:
            head = f'<svg role="img" aria-label="{escape(self.about)}" {box} style="max-width:{self.width:g}px">'
        else:
            head = f'<svg aria-hidden="true" width="{self.width:g}" height="{self.height:g}" {box}>'
        return head + "".join(self._parts) + "</svg>"


def frame(drawing: Drawing, x: Scale, y: Scale, x_title: str, y_title: str, x_ticks: Sequence[tuple[float, str]] = ()) -> None:
    """Both axes: the title of the upright one lies above it, so that it reads without turning the head."""
    for value in (ticks := y.ticks(4)):
        drawing.line(x.start, y(value), x.end, y(value), "line", 0.8)
        drawing.text(x.start - 7, y(value) + 4, tick(value, ticks, y.log), "end", "muted", 11)
    drawing.line(x.start, y.start, x.end, y.start, "muted", 0.8)
    horizontal = list(x_ticks) or [(value, tick(value, found, x.log)) for found in [x.ticks(5)] for value in found]
    for value, text in horizontal:
        drawing.line(x(value), y.start, x(value), y.start + 4, "muted", 0.8)
        drawing.text(x(value), y.start + 17, text, "middle", "muted", 11)
    drawing.text((x.start + x.end) / 2, y.start + 35, x_title, "middle", "muted")
    drawing.text(0, y.end - 12, y_title, "start", "muted")


def tick(value: float, ticks: Sequence[float], log: bool = False) -> str:
    """A tick's text, with as many decimals as the steps between the ticks need."""
    if log or len(ticks) < 2:
        return number(float(f"{value:.3g}"))
    step = abs(ticks[1] - ticks[0])
    places = max(0, min(6, -math.floor(math.log10(step) + 1e-9) + (1 if f"{step:.2e}".startswith("2.5") else 0)))
    text = f"{value:,.{places}f}"
    return "\N{MINUS SIGN}" + text[1:] if text.startswith("-") and value else text.lstrip("-")


def spread_out(values: Sequence[float], factor: float = 20.0) -> bool:
    """Whether a logarithmic scale serves these values better: all above zero, the largest ``factor`` times the smallest."""
    return min(values) > 0 and max(values) >= factor * min(values)


def series_colour(series: int) -> str:
    return f"series-{series % COLOURS + 1}"


def swatch(series: int, line: bool = True, dash: str = "", hollow: bool = False) -> str:
    """A series' sign as a small drawing for the legend."""
    drawing = Drawing(12, "", 26 if line else 12)
    if line:
        drawing.line(0, 6, 26, 6, series_colour(series), 1.8, dash)
    drawing.mark(13 if line else 6, 6, series, hollow=hollow)
    return str(drawing)


def width_of(text: str, size: float = TEXT) -> float:
    """About how wide a text is in a sans-serif; rather too much than too little."""
    return size * sum(0.36 if letter in _NARROW else 0.9 if letter in _BROAD else 0.72 if letter.isupper() else 0.58 for letter in text)


def shortened(text: str, width: float, size: float = TEXT) -> str:
    """The text, cut in its middle where it is wider than ``width``: both ends of an arm's name tell it from others."""
    if width_of(text, size) <= width + 0.1:  # a width that was itself made from this text comes back rounded
        return text
    keep = len(text) - 1
    while keep > 2 and width_of(_cut(text, keep), size) > width:
        keep -= 1
    return _cut(text, keep)


def _cut(text: str, keep: int) -> str:
    return f"{text[: (keep + 1) // 2].rstrip()}…{text[len(text) - keep // 2 :].lstrip()}"


def _written(value: float | str) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def _shape(series: int, x: float, y: float, size: float) -> str:
    """Shapes that differ without their colours: circle, square, triangle, diamond, triangle down, cross, pentagon, bar."""
    kind = series % COLOURS
    if kind == 0:
        return f"M{_written(x - size)},{_written(y)}a{size},{size} 0 1,0 {2 * size},0a{size},{size} 0 1,0 {-2 * size},0z"
    corners: dict[int, Sequence[tuple[float, float]]] = {
        1: [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2: [(0, -1.2), (1.1, 0.85), (-1.1, 0.85)],
        3: [(0, -1.3), (1.2, 0), (0, 1.3), (-1.2, 0)],
        4: [(0, 1.2), (1.1, -0.85), (-1.1, -0.85)],
        5: [(sx * a, sy * b) for sx, sy, a, b in _CROSS],
        6: [(1.15 * math.sin(turn * 1.2566), -1.15 * math.cos(turn * 1.2566)) for turn in range(5)],
        7: [(-0.45, -1.3), (0.45, -1.3), (0.45, 1.3), (-0.45, 1.3)],
    }
    return "M" + "L".join(f"{_written(x + size * dx)},{_written(y + size * dy)}" for dx, dy in corners[kind]) + "z"


_CROSS = (
    *((-1, -1, 0.4, 1.2), (1, -1, 0.4, 1.2), (1, -1, 0.4, 0.4), (1, -1, 1.2, 0.4), (1, 1, 1.2, 0.4), (1, 1, 0.4, 0.4)),
    *((1, 1, 0.4, 1.2), (-1, 1, 0.4, 1.2), (-1, 1, 0.4, 0.4), (-1, 1, 1.2, 0.4), (-1, -1, 1.2, 0.4), (-1, -1, 0.4, 0.4)),
)

"""A score along an axis of numbers, such as the rank of an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.reports.figures.svg import WIDTH, Drawing, Scale, frame, series_colour, spread_out, swatch, tick, width_of
from runner.reports.formats import fixed, interval, number
from runner.reports.page import Figure, Key

#: Between two lines at the same number, so that their intervals do not cover each other.
_APART = 4.0
_DASHES = ("7 3", "2 3", "9 3 2 3")


@dataclass(frozen=True)
class Line:
    """The arms that differ along the axis alone: ``(number, value, low, high)``, by number."""

    name: str
    points: Sequence[tuple[float, float, float, float]]


def along(
    title: str, axis: str, score: str, lines: Sequence[Line], levels: Sequence[tuple[str, float]], places: int, caption: str = ""
) -> Figure:
    """A line for each set of arms, with their intervals; ``levels`` are arms without such a number, drawn across."""
    numbers = sorted({point[0] for line in lines for point in line.points})
    log = spread_out(numbers, 4)
    every = [part for line in lines for point in line.points for part in point[1:]] + [value for _, value in levels]
    y = Scale.over(every, 250, 26)
    margin = max(width_of(tick(value, y.ticks(4)), 11) for value in y.ticks(4)) + 10
    x = Scale.over(numbers, margin, WIDTH - 10, log=log, room=0.1)
    told = "; ".join(f"{line.name} from {fixed(line.points[0][1], places)} to {fixed(line.points[-1][1], places)}" for line in lines)
    drawing = Drawing(290, f"{title} along {axis}: {told}")
    frame(drawing, x, y, f"{axis}, log scale" if log else axis, score, [(value, number(value)) for value in numbers])
    for place, (name, value) in enumerate(levels):
        drawing.line(margin, y(value), WIDTH - 10, y(value), "muted", 1.3, _DASHES[place % len(_DASHES)], f"{name}: {fixed(value, places)}")
    for series, line in enumerate(lines):
        shift = _APART * (series - (len(lines) - 1) / 2)
        at = [(x(position) + shift, y(value)) for position, value, _, _ in line.points]
        if len(at) > 1:
            drawing.path(at, series_colour(series))
        for (position, value, low, high), (left, top) in zip(line.points, at, strict=True):
            drawing.line(left, y(low), left, y(high), series_colour(series), 1.1)
            between = interval(low, high, places)
            told = f"{line.name}, {axis} {number(position)}: {fixed(value, places)}" + (f" ({between})" if between else "")
            drawing.mark(left, top, series, told)
    keys = [Key(line.name, swatch(series)) for series, line in enumerate(lines) if len(lines) > 1 or levels]
    keys += [Key(name, _level(place)) for place, (name, _) in enumerate(levels)]
    return Figure(str(drawing), title, caption, keys)


def _level(place: int) -> str:
    drawing = Drawing(12, "", 26)
    drawing.line(0, 6, 26, 6, "muted", 1.3, _DASHES[place % len(_DASHES)])
    return str(drawing)

"""Arms compared in one metric: a bar, or a point, for each, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.reports.figures.svg import TEXT, WIDTH, Drawing, Scale, shortened, tick, width_of
from runner.reports.formats import fixed, interval
from runner.reports.page import Figure

_ROW = 21.0


@dataclass(frozen=True)
class Bar:
    """An arm, its figure and its interval; ``reference`` is the arm that the others are compared with."""

    label: str
    value: float
    low: float
    high: float
    reference: bool = False


def bars(title: str, axis: str, rows: Sequence[Bar], places: int, *, from_zero: bool, caption: str = "") -> Figure:
    """A row for each arm, with its interval as a thin line; a dashed line runs through all at the reference's value.

    ``from_zero`` draws bars, for figures whose zero means nothing at all; without it the rows hold points, and the axis
    shows only where they lie (losses: a bar's length would say nothing).
    """
    labels = min(max(width_of(row.label) for row in rows), WIDTH * 0.46)
    values = max(width_of(fixed(row.value, places)) for row in rows)
    bottom = 6 + _ROW * len(rows)
    drawing = Drawing(bottom + 40, f"{title} by arm: " + "; ".join(f"{row.label} {fixed(row.value, places)}" for row in rows))
    x = Scale.over([part for row in rows for part in (row.low, row.high, row.value)], labels + 10, WIDTH - values - 10, zero=from_zero)
    for value in (ticks := x.ticks(4)):
        drawing.line(x(value), 2, x(value), bottom, "line", 0.8)
        drawing.text(x(value), bottom + 15, tick(value, ticks), "middle", "muted", 11)
    drawing.text((x.start + x.end) / 2, bottom + 33, axis, "middle", "muted")
    for row in rows:
        if row.reference:
            drawing.line(x(row.value), 2, x(row.value), bottom, "muted", 1, "3 3")
    for place, row in enumerate(rows):
        y, colour = 6 + _ROW * (place + 0.5), "muted" if row.reference else "series-1"
        between = interval(row.low, row.high, places)
        told = f"{row.label}: {fixed(row.value, places)}" + (f" ({between})" if between else "")
        if from_zero:
            left, right = sorted((x(0), x(row.value)))
            drawing.add("rect", f"fill:var(--{colour});fill-opacity:.55", told, x=left, y=y - 6.5, width=right - left, height=13)
        drawing.line(x(row.low), y, x(row.high), y, "ink" if from_zero else colour, 1.6)
        for end in (row.low, row.high) if from_zero and row.low != row.high else ():
            drawing.line(x(end), y - 3.5, x(end), y + 3.5, "ink", 1.6)
        if not from_zero:
            drawing.mark(x(row.value), y, 0, told, colour=colour)
        drawing.text(labels, y + 4, shortened(row.label, labels), "end", full=row.label)
        drawing.text(WIDTH, y + 4, fixed(row.value, places), "end", size=TEXT - 0.5)
    return Figure(str(drawing), title, caption)

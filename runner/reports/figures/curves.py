"""What training measured at its steps, several trainings over each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.reports.figures.svg import WIDTH, Drawing, Scale, frame, series_colour, spread_out, swatch, tick, width_of
from runner.reports.formats import number
from runner.reports.page import Figure, Key

#: Signs on a line, so that it is known by more than its colour.
_SIGNS = 6
HELD_OUT = "2 3"


@dataclass(frozen=True)
class Curve:
    """A line over steps. ``series`` gives colour and shape; what was measured on held-out examples is dotted and its signs hollow."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    series: int
    held_out: bool = False


def curves(title: str, axis: str, lines: Sequence[Curve], caption: str = "") -> Figure:
    """Lines over optimiser steps; by logarithms where the largest value is ten times the smallest."""
    values, steps = [value for line in lines for value in line.values], [step for line in lines for step in line.steps]
    log = spread_out(values, 10)
    y = Scale.over(values, 250, 26, log=log)
    margin = max(width_of(tick(value, y.ticks(4), log), 11) for value in y.ticks(4)) + 10
    x = Scale.over(steps, margin, WIDTH - 8, room=0.02)
    ends = "; ".join(f"{line.name} from {number(line.values[0])} to {number(line.values[-1])}" for line in lines)
    drawing = Drawing(290, f"{title} over optimiser steps: {ends}")
    frame(drawing, x, y, "optimiser step", f"{axis}, log scale" if log else axis)
    for place, line in enumerate(lines):
        points = [(x(step), y(value)) for step, value in zip(line.steps, line.values, strict=True)]
        if len(points) > 1:
            drawing.path(points, series_colour(line.series), 1.7, HELD_OUT if line.held_out else "")
        every = max(1, len(points) // _SIGNS)
        for at in range(place % every if len(points) > _SIGNS else 0, len(points), every):
            told = f"{line.name}: {number(line.values[at])} at step {number(line.steps[at])}"
            drawing.mark(*points[at], line.series, told, hollow=line.held_out, size=3.2)
    keys = [Key(line.name, swatch(line.series, dash=HELD_OUT if line.held_out else "", hollow=line.held_out)) for line in lines]
    return Figure(str(drawing), title, caption, keys if len(keys) > 1 else ())

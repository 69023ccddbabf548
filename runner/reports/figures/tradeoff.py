"""What a score costs: every arm's score against its memory, size, seconds or money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.reports.figures.svg import WIDTH, Drawing, Scale, frame, series_colour, spread_out, swatch, tick, width_of
from runner.reports.formats import fixed, interval
from runner.reports.page import Figure, Key


@dataclass(frozen=True)
class Point:
    """An arm: the number of the group that colours it, what it costs, its score with the interval, and whether it is the baseline."""

    label: str
    group: int
    cost: float
    value: float
    low: float
    high: float
    reference: bool = False


def frontier(points: Sequence[Point], higher_is_better: bool) -> list[Point]:
    """The arms that no other arm beats in one of cost and score without being worse in the other, the cheapest first."""
    sign = 1 if higher_is_better else -1
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -sign * point.value)):
        if not kept or sign * point.value > sign * kept[-1].value:
            kept.append(point)
    return kept


def tradeoff(
    title: str,
    cost: str,
    score: str,
    points: Sequence[Point],
    groups: Sequence[str],
    places: int,
    *,
    higher_is_better: bool,
    caption: str = "",
) -> Figure:
    """A sign for every arm on its interval; a dashed line joins those that nothing beats on both axes."""
    log = spread_out([point.cost for point in points])
    y = Scale.over([part for point in points for part in (point.low, point.high, point.value)], 270, 26)
    margin = max(width_of(tick(value, y.ticks(4)), 11) for value in y.ticks(4)) + 10
    x = Scale.over([point.cost for point in points], margin, WIDTH - 10, log=log, room=0.05)
    best = frontier(points, higher_is_better)
    drawing = Drawing(310, f"{title}. Nothing beats on both axes: {'; '.join(point.label for point in best)}")
    frame(drawing, x, y, f"{cost}, log scale" if log else cost, score)
    if len(best) > 1:
        drawing.path([(x(point.cost), y(point.value)) for point in best], "muted", 1.2, "4 3")
    for point in points:
        drawing.line(x(point.cost), y(point.low), x(point.cost), y(point.high), series_colour(point.group), 0.9)
    for point in points:
        between = interval(point.low, point.high, places)
        told = f"{point.label}: {fixed(point.value, places)}" + (f" ({between})" if between else "") + f" at {point.cost:.3g} {cost}"
        drawing.mark(x(point.cost), y(point.value), point.group, told, hollow=point.reference)
    shown = sorted({point.group for point in points})
    keys = [Key(groups[group], swatch(group, line=False)) for group in shown] if len(groups) > 1 else []
    return Figure(str(drawing), title, caption, keys)

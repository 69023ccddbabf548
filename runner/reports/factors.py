"""Which ingredient helped: the step along each axis, the score at every combination of axes, and along axes of numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from runner.reports.arms import is_scored, spread
from runner.reports.formats import interval, p_value, signed
from runner.reports.page import Block, Cell, Column, Figure, Figures, Fold, Heading, Link, Table
from runner.reports.record import Json, Run

#: Most rows and columns of one heat map, lines of one drawing, and drawings of one metric along one axis.
ROWS, COLUMNS, LINES, PANELS = 24, 8, 6, 4
#: Pairs of steps that are listed.
INTERACTIONS = 60
#: Arms without a place on an axis of numbers that are drawn across it.
LEVELS = 2


def blocks(
    run: Run, scores: Json, axes: Sequence[str], metrics: Sequence[Json], drawn: Sequence[Json], places: Mapping[str, int], source: Link
) -> list[Block]:
    """Nothing where arms differ along one axis of names alone: their bars say it all."""
    arms: Sequence[Json] = scores["arms"]
    figures = [_figures(run, metric, arms, axes, places, scores.get("baseline")) for metric in drawn]
    found: list[Block] = []
    if table := _effects(scores, metrics, places, source):
        found.append(table)
    if table := _interactions(scores, metrics, places, source):
        found.append(Fold("Whether ingredients help each other", [table]))
    if figures and figures[0]:
        found.append(Figures(figures[0], [source], wide=True))
    if others := [figure for several in figures[1:] for figure in several]:
        found.append(Fold("The same for the other metrics", [Figures(others, [source], wide=True)]))
    return [Heading("Which ingredient helped"), *found] if found else []


def _figures(
    run: Run, metric: Json, arms: Sequence[Json], axes: Sequence[str], places: Mapping[str, int], baseline: Json | None
) -> list[Figure]:
    some = [arm for arm in arms if is_scored(arm, metric["name"])]
    figures = [figure for axis in axes for figure in _along(run, metric, some, axis, axes, places[metric["name"]], baseline)]
    return figures + _heat(run, metric, some, axes, places[metric["name"]])


def _effects(scores: Json, metrics: Sequence[Json], places: Mapping[str, int], source: Link) -> Table | None:
    """A row for every step along an axis: the average over the arms that differ in nothing else."""
    steps: dict[tuple[str, str, str], dict[str, Json]] = {}
    for effect in scores.get("effects") or []:
        steps.setdefault((effect["axis"], effect["from"], effect["to"]), {})[effect["metric"]] = effect
    rows, alone = [], []
    for (axis, before, after), found in steps.items():
        pairs = max(effect["pairs"] for effect in found.values())
        if not pairs:
            alone.append(f"{axis} {before} → {after}")
            continue
        row = [Cell(axis), Cell(f"{before} → {after}"), Cell(str(pairs), sort=pairs)]
        rows.append(row + [_effect(found.get(metric["name"]), metric, places[metric["name"]]) for metric in metrics])
    caption = "Each step along one axis, averaged over the pairs of arms that differ in nothing else; below it the interval and the "
    caption += "p value (Holm's correction over the steps)."
    if alone:
        caption += f" No two arms differ in nothing but {', '.join(alone)}: such a step cannot be told from the other axes."
    return Table([Column("Axis"), Column("Step"), Column("Pairs", True), *_titles(metrics)], rows, caption, [source]) if rows else None


def _interactions(scores: Json, metrics: Sequence[Json], places: Mapping[str, int], source: Link) -> Table | None:
    """What a step does after another, minus what it does before it."""
    found: dict[tuple[tuple[str, ...], ...], dict[str, Json]] = {}
    for row in scores.get("interactions") or []:
        found.setdefault(tuple(tuple(row[part]) for part in ("axes", "from", "to")), {})[row["metric"]] = row
    rows = []
    for (axes, before, after), by_metric in found.items():
        squares = max(row["squares"] for row in by_metric.values())
        steps = [Cell(f"{before[at]} → {after[at]}", axes[at]) for at in (0, 1)]
        cells = [_effect(by_metric.get(metric["name"]), metric, places[metric["name"]]) for metric in metrics]
        rows.append([*steps, Cell(str(squares), sort=squares), *cells])
    caption = "What the first step does after the second, minus what it does before it, averaged over the squares of four arms that "
    caption += "differ in nothing else; below it the interval and the p value (Holm's correction over the rows). ▲: together they do more "
    caption += "than each alone would let expect; ▼: less, which is the rule near either end of a scale."
    columns = [Column("First step"), Column("Second step"), Column("Squares", True), *_titles(metrics)]
    return Table(columns, rows[:INTERACTIONS], caption, [source], max(0, len(rows) - INTERACTIONS)) if rows else None


def _titles(metrics: Sequence[Json]) -> list[Column]:
    return [Column(str(metric.get("title") or metric["name"]), True) for metric in metrics]


def _effect(effect: Json | None, metric: Json, digits: int) -> Cell:
    if effect is None or "difference" not in effect:
        return Cell("–", "not comparable", tone="quiet", sort=float("-inf"))
    low, high, better = effect["low"], effect["high"], bool(metric.get("higher_is_better", True))
    sure = not low <= 0 <= high
    good = (effect["difference"] > 0) == better
    sign = ("▲ " if good else "▼ ") if sure else ""
    detail = "\n".join(part for part in (interval(low, high, digits), p_value(effect["p_adjusted"])) if part)
    return Cell(
        sign + signed(effect["difference"], digits), detail, sort=effect["difference"], tone=("good" if good else "bad") if sure else ""
    )


def _heat(run: Run, metric: Json, arms: Sequence[Json], axes: Sequence[str], places: int) -> list[Figure]:
    """One axis across, the one that meets all others most often; all combinations of the others down."""
    from runner.reports.figures.heatmap import heatmap

    name, title = metric["name"], str(metric.get("title") or metric["name"])
    choices = []
    for axis in axes:
        labels = _labels(run, arms, axis)
        rows = list(dict.fromkeys(_others(run, arm["axes"], axis) for arm in arms))
        if 1 < len(labels) <= COLUMNS and len(rows) > 1:
            choices.append((len(arms) / (len(labels) * len(rows)), len(labels), axis, labels, rows))
    if not choices:
        return []
    filled, _, axis, labels, rows = max(choices, key=lambda choice: choice[:2])
    if filled <= 0.5:
        return []  # hardly any two arms differ in one axis alone: a map would be holes
    cells = {(_others(run, arm["axes"], axis), str(arm["axes"].get(axis, "–"))): float(arm["values"][name]["mean"]) for arm in arms}
    higher = bool(metric.get("higher_is_better", True))
    order = sorted(rows, key=lambda row: -max(cells[row, label] * (1 if higher else -1) for label in labels if (row, label) in cells))
    shown = [row for row in rows if row in order[:ROWS]]
    caption = f"{'higher' if higher else 'lower'} is better; the stronger the colour, the better"
    if len(rows) > ROWS:
        caption += f"; the best {ROWS} of {len(rows)} rows"
    down = " · ".join(other for other in axes if other != axis)
    among = [cells[row, label] for row in shown for label in labels if (row, label) in cells]
    return [
        heatmap(f"{title} by {axis}", (down, shown), (axis, labels), cells, places, higher_is_better=higher, among=among, caption=caption)
    ]


def _along(
    run: Run, metric: Json, arms: Sequence[Json], axis: str, axes: Sequence[str], places: int, baseline: Json | None
) -> list[Figure]:
    """Scores along an axis of numbers, a drawing for each label of another axis where one could not hold all lines."""
    from runner.reports.figures.along import Line, along

    numbers = numbers_of(_labels(run, arms, axis))
    if len(set(numbers.values())) < 2:
        return []
    groups: dict[str, list[Json]] = {}
    for arm in arms:
        if str(arm["axes"].get(axis)) in numbers:
            groups.setdefault(_others(run, arm["axes"], axis), []).append(arm)
    groups = {name: found for name, found in groups.items() if len(found) > 1}
    name, title = metric["name"], str(metric.get("title") or metric["name"])
    sign = 1 if metric.get("higher_is_better", True) else -1
    without = sorted(
        (arm for arm in arms if str(arm["axes"].get(axis)) not in numbers), key=lambda arm: -sign * float(arm["values"][name]["mean"])
    )
    without = [*(arm for arm in without if arm["axes"] == baseline), *(arm for arm in without if arm["axes"] != baseline)][:LEVELS]
    levels = [(run.arm(arm["axes"]), float(arm["values"][name]["mean"])) for arm in without]
    figures = []
    panels = _panels(groups, axis, axes)
    for panel, members in list(panels.items())[:PANELS]:
        lines = []
        for group in members[:LINES]:
            points = []
            for arm in groups[group]:
                points.append((numbers[str(arm["axes"][axis])], *spread(arm, name)))
            lines.append(Line(group, sorted(points)))
        notes = ["higher is better" if sign > 0 else "lower is better"]
        if levels:
            notes.append(f"across: {'the baseline and the best' if len(levels) > 1 else 'the'} arm without {axis}")
        if len(members) > LINES:
            notes.append(f"{LINES} of {len(members)} lines")
        if len(panels) > PANELS:
            notes.append(f"{PANELS} of {len(panels)} drawings")
        figures.append(
            along(f"{title} along {axis}" + (f", {panel}" if panel else ""), axis, title, lines, levels, places, "; ".join(notes))
        )
    return figures if panels else []


def numbers_of(labels: Sequence[str]) -> dict[str, float]:
    """Labels that are a number between the same words (``8``, ``r8``, ``8 bit``), with that number; empty where there are not two."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for label in labels:
        if parts := re.fullmatch(r"(\D*?)(\d+(?:\.\d+)?(?:e-?\d+)?)(\D*)", label):
            found.setdefault((parts[1], parts[3]), {})[label] = float(parts[2])
    largest: dict[str, float] = max(found.values(), key=len, default={})
    return largest if len(set(largest.values())) > 1 else {}


def _labels(run: Run, arms: Sequence[Json], axis: str) -> list[str]:
    """The labels that these arms have on an axis, in the order of the matrix; a dash for arms without it."""
    given = [str(label) for label in (run.record.get("matrix") or {}).get(axis) or []]
    found = {str(arm["axes"].get(axis, "–")) for arm in arms}
    return [label for label in dict.fromkeys([*given, *sorted(found)]) if label in found]


def _others(run: Run, axes: Mapping[str, str], axis: str) -> str:
    rest = {name: label for name, label in axes.items() if name != axis}
    return run.arm(rest) if rest else "all"


def _panels(groups: Mapping[str, Sequence[Json]], axis: str, axes: Sequence[str]) -> dict[str, list[str]]:
    """Lines by drawing: all in one where they can be told apart, else one drawing for each label of the axis that divides them best."""
    if not groups or len(groups) <= LINES:
        return {"": list(groups)} if groups else {}
    choices = []
    for other in (name for name in axes if name != axis):
        panels: dict[str, list[str]] = {}
        for name, arms in groups.items():
            panels.setdefault(str(arms[0]["axes"].get(other, "–")), []).append(name)
        if 1 < len(panels) <= PANELS:
            choices.append((max(len(lines) for lines in panels.values()), panels))
    return min(choices, key=lambda choice: choice[0])[1] if choices else {"": list(groups)}

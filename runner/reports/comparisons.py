"""What stands behind the arms' scores: what must not be compared, figures by group of questions, and who judged how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from runner.reports.formats import counted, fixed, interval
from runner.reports.page import Block, Cell, Column, Fold, Link, Note, Paragraph, Table
from runner.reports.record import Json, Run

#: Rows of a table of groups before it is cut.
ROWS = 240


def not_comparable(run: Run, scores: Json) -> list[Block]:
    """Pairs of arms whose figures of a metric must not be compared."""
    found = scores.get("not_comparable") or []
    if not found:
        return []
    titles = {metric["name"]: str(metric.get("title") or metric["name"]) for metric in scores["metrics"]}
    items = [
        f"{titles.get(row['metric'], row['metric'])}: {' and '.join(run.arm(axes) for axes in row['arms'])} ({row['reason']})"
        for row in found
    ]
    return [Note("These figures are not comparable:", "warn", items)]


def breakdowns(scores: Json, axes: Sequence[str], metrics: Sequence[Json], places: Mapping[str, int], source: Link) -> list[Block]:
    """Closed tables of the arms' figures over each group of questions."""
    found: list[Block] = []
    for by, groups in groupby(scores.get("breakdowns") or [], key=lambda row: str(row["by"])):
        rows = [
            [
                Cell(str(group["group"]), counted(group["items"], "item")),
                *(Cell(str(arm["axes"].get(axis, "–"))) for axis in axes),
                *(_figure(arm["values"].get(metric["name"]), places[metric["name"]]) for metric in metrics),
            ]
            for group in groups
            for arm in group["arms"]
        ]
        columns = [Column(by), *(Column(axis) for axis in axes), *_titles(metrics)]
        caption = "Intervals are of each group by itself, and not corrected for the number of groups: they show where to look."
        found.append(Fold(f"By {by}", [Table(columns, rows[:ROWS], caption, [source], max(0, len(rows) - ROWS))]))
    return found


def _figure(value: Json | None, digits: int) -> Cell:
    if value is None:
        return Cell("–", tone="quiet", sort=float("-inf"))
    return Cell(fixed(value["mean"], digits), interval(value["low"], value["high"], digits), sort=value["mean"])


def judging(scores: Json) -> list[Block]:
    """How the judge behaved: what was not judged, and how much the order of two answers decided."""
    found = scores.get("judging")
    if not found:
        return []
    text = f"The judge was asked {counted(found['asked'], 'time')}, {found['failed']} without a valid verdict."
    if found["pairs"]:
        text += (
            f" Of {counted(found['pairs'], 'pair')}, {100 * found['consistent'] / found['pairs']:.0f} % got the same verdict in both orders"
        )
        if found["decided"]:
            text += f"; the answer that stood first won {100 * found['first'] / found['decided']:.0f} % of the verdicts that were no tie"
        text += "."
    return [Paragraph(text, "quiet")]


def _titles(metrics: Sequence[Json]) -> list[Column]:
    return [Column(str(metric.get("title") or metric["name"]), True) for metric in metrics]

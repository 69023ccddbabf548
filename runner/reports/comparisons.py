"""What stands behind the arms' scores: which ingredient helped, figures by group of questions, cost, and who judged how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from runner.reports.formats import counted, fixed, interval, number, p_value, signed
from runner.reports.page import Block, Cell, Column, Fold, Heading, Link, Note, Paragraph, Table
from runner.reports.record import Json, Made, Run, fact

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


def effects(scores: Json, metrics: Sequence[Json], places: Mapping[str, int], source: Link) -> list[Block]:
    """A row for every step along an axis: the average over the arms that differ in nothing else."""
    steps: dict[tuple[str, str, str], dict[str, Json]] = {}
    for effect in scores.get("effects") or []:
        steps.setdefault((effect["axis"], effect["from"], effect["to"]), {})[effect["metric"]] = effect
    if not steps:
        return []
    rows = []
    for (axis, before, after), found in steps.items():
        pairs = max(effect["pairs"] for effect in found.values())
        row = [Cell(axis), Cell(f"{before} → {after}"), Cell(str(pairs), sort=pairs)]
        rows.append(row + [_effect(found.get(metric["name"]), metric, places[metric["name"]]) for metric in metrics])
    caption = (
        "Each step along one axis, averaged over the pairs of arms that differ in nothing else; below it the interval and the p value "
    )
    caption += "(Holm's correction over the steps). A step without such a pair cannot be told from the other axes."
    columns = [Column("Axis"), Column("Step"), Column("Pairs", True), *_titles(metrics)]
    return [Heading("Which ingredient helped"), Table(columns, rows, caption, [source])]


def _effect(effect: Json | None, metric: Json, digits: int) -> Cell:
    if effect is None or not effect["pairs"]:
        return Cell("–", "not comparable", tone="quiet", sort=float("-inf"))
    low, high, better = effect["low"], effect["high"], bool(metric.get("higher_is_better", True))
    sure = not low <= 0 <= high
    good = (effect["difference"] > 0) == better
    sign = ("▲ " if good else "▼ ") if sure else ""
    detail = "\n".join(part for part in (interval(low, high, digits), p_value(effect["p_adjusted"])) if part)
    return Cell(
        sign + signed(effect["difference"], digits), detail, sort=effect["difference"], tone=("good" if good else "bad") if sure else ""
    )


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


def cost(run: Run, made: Made, arms: Sequence[Json], axes: Sequence[str], source: Link) -> list[Block]:
    """Tokens and seconds an answer, by arm."""
    seconds: Sequence[Json] = fact(made.instance, "seconds_per_answer")[0] or []
    rows = []
    for arm in arms:
        tokens = arm.get("tokens") or {}
        took: Json = next((each for each in seconds if each["axes"] == arm["axes"]), {})
        if tokens or took:
            cells = [_plain(tokens.get(name)) for name in ("prompt_tokens", "answer_tokens")]
            cells += [_plain(took.get(name)) for name in ("mean", "p50", "p95")]
            rows.append([*(Cell(str(arm["axes"].get(axis, "–"))) for axis in axes), *cells])
    if not rows:
        return []
    titles = ("Prompt tokens", "Answer tokens", "Seconds, mean", "Seconds, p50", "Seconds, p95")
    caption = "Means of an answer. Seconds are those of a batch, divided by its answers, on the machine that made them."
    columns = [*(Column(axis) for axis in axes), *(Column(title, True) for title in titles)]
    return [Fold("Cost and latency of an answer", [Table(columns, rows, caption, [source])])]


def _titles(metrics: Sequence[Json]) -> list[Column]:
    return [Column(str(metric.get("title") or metric["name"]), True) for metric in metrics]


def _plain(value: float | None) -> Cell:
    return Cell("–", tone="quiet", sort=float("-inf")) if value is None else Cell(number(value), sort=value)

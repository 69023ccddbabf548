"""The short answer: which arm is best in each metric, how sure that is, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.reports.arms import Took, is_scored
from runner.reports.formats import counted, fixed, interval, moment, p_value, signed, size
from runner.reports.page import Block, Cell, Column, Link, Table
from runner.reports.record import Json, Made, Run

#: Rivals that are named before the rest is only counted.
NAMED = 3


def blocks(run: Run, made: Made, scores: Json, metrics: Sequence[Json], places: Mapping[str, int], costs: Sequence[Took]) -> list[Block]:
    """A row for each metric; nothing where there is one arm."""
    arms: Sequence[Json] = scores["arms"]
    if len(arms) < 2:
        return []
    rivals = _rivals(made, scores, metrics)
    rows = []
    for metric in metrics:
        name, digits = metric["name"], places[metric["name"]]
        scored = [place for place, arm in enumerate(arms) if is_scored(arm, name)]
        if len(scored) < 2:
            continue
        best = _best(scores, scored, metric)
        if all(arms[place]["values"][name]["mean"] == arms[best]["values"][name]["mean"] for place in scored):
            continue
        value = arms[best]["values"][name]
        equal = sum(arms[place]["values"][name]["mean"] == value["mean"] for place in scored) - 1
        alike = [f"and {counted(equal, 'other arm')} with the same score"] if equal else []
        rows.append(
            [
                Cell(str(metric.get("title") or name), "" if metric.get("higher_is_better", True) else "lower is better"),
                Cell(run.arm(arms[best]["axes"]), "\n".join([*alike, _cost(costs[best])]).strip(), tone="strong"),
                Cell(fixed(value["mean"], digits), interval(value.get("low"), value.get("high"), digits), sort=value["mean"]),
                _gain(scores, arms[best]["axes"], metric, digits),
                _alike(run, arms, rivals.get(name), len(scored) - 1, costs),
            ]
        )
    if not rows:
        return []
    columns = [Column("Metric"), Column("Best arm", wide=True), Column("Score", True), Column("Against the baseline", True)]
    caption = "An arm cannot be told from the best where the interval of their paired difference includes zero. The best of many arms is "
    caption += "flattered by chance, so its lead is rather smaller than it looks."
    return [Table([*columns, Column("Cannot be told from it", wide=True)], rows, caption, _sources(made))]


def _sources(made: Made) -> list[Link]:
    return [made.link("scores.json"), made.link("items.jsonl")]


def _best(scores: Json, scored: Sequence[int], metric: Json) -> int:
    """Of equal arms the baseline, as nothing is better than it then, or else the first."""
    arms, sign = scores["arms"], 1 if metric.get("higher_is_better", True) else -1
    return max(
        scored,
        key=lambda place: (
            sign * arms[place]["values"][metric["name"]]["mean"], arms[place]["axes"] == scores.get("baseline"), -place,
        ),
    )  # fmt: skip


def _gain(scores: Json, axes: Json, metric: Json, digits: int) -> Cell:
    if axes == scores.get("baseline"):
        return Cell("it is the baseline", tone="quiet", sort=0)
    for pair in scores.get("paired") or []:
        if pair["metric"] == metric["name"] and pair["arm"] == axes:
            p = pair.get("p_adjusted", pair.get("p"))
            parts = [interval(pair.get("low"), pair.get("high"), digits), "" if p is None else p_value(p)]
            return Cell(signed(pair["difference"], digits), "\n".join(part for part in parts if part), sort=pair["difference"])
    return Cell("–", "not compared" if scores.get("baseline") else "no baseline", tone="quiet", sort=float("-inf"))


def _alike(run: Run, arms: Sequence[Json], alike: Sequence[int] | None, others: int, costs: Sequence[Took]) -> Cell:
    if alike is None:
        return Cell("–", "not comparable, or no scores of items", tone="quiet", sort=-1)
    if not alike:
        return Cell(f"none of {counted(others, 'other')}", tone="good", sort=0)
    names = "; ".join(run.arm(arms[place]["axes"]) for place in alike[:NAMED]) + ("; …" if len(alike) > NAMED else "")
    cheap = [f"{what} {run.arm(arms[at]['axes'])}, {text}" for what, at, text in _cheapest(alike, costs)] if len(alike) > 1 else []
    return Cell(f"{len(alike)} of {counted(others, 'other')}", "\n".join([names, *cheap]), sort=len(alike))


def _cheapest(alike: Sequence[int], costs: Sequence[Took]) -> list[tuple[str, int, str]]:
    found = []
    timed = [(seconds, place) for place in alike if (seconds := costs[place].seconds) is not None]
    if timed:
        found.append(("fastest:", min(timed)[1], f"{moment(min(timed)[0])} an answer"))
    sized = [(held, place) for place in alike if (held := costs[place].model_bytes) is not None]
    if sized and min(sized)[0] < max(sized)[0]:
        found.append(("smallest:", min(sized)[1], size(min(sized)[0])))
    return found


def _cost(cost: Took) -> str:
    parts = [
        "" if cost.seconds is None else f"{moment(cost.seconds)} an answer",
        "" if cost.model_bytes is None else f"{size(cost.model_bytes)} of weights",
        "" if cost.training_memory is None else f"trained in {size(cost.training_memory)}",
    ]
    return ", ".join(part for part in parts if part)


def _rivals(made: Made, scores: Json, metrics: Sequence[Json]) -> dict[str, list[int]]:
    """By metric: the arms whose paired difference to the best has an interval that includes zero, the best of them first.

    A metric is missing where items have no scores, or where arms of it must not be compared. The draws are those of the evaluation.
    """
    how = scores.get("bootstrap") or {}
    arms: Sequence[Json] = scores["arms"]
    place_of = {_key(arm["axes"]): place for place, arm in enumerate(arms)}
    items = [(place, row) for row in made.rows("items.jsonl") if (place := place_of.get(_key(row.get("axes") or {}))) is not None]
    if not items or not how.get("samples"):
        return {}
    import numpy as np

    from runner.evaluation.aggregates import AGGREGATES
    from runner.evaluation.bootstrap import Resampling, Table, intervals

    barred = {row["metric"] for row in scores.get("not_comparable") or []}
    resampling = Resampling(how["samples"], how.get("confidence", 0.95), how.get("seed", 0))
    tables, order = [], list[tuple[Json, list[int]]]()
    for metric in metrics:
        name = metric["name"]
        rows: dict[int, dict[str, Any]] = {}
        for place, row in items:
            if name in (row.get("values") or {}):
                value = row["values"][name]
                rows.setdefault(place, {})[str(row["id"])] = (value, (row.get("statistics") or {}).get(name) or [value])
        scored = [place for place in sorted(rows) if is_scored(arms[place], name)]
        shared = [item for item in rows[scored[0]] if all(item in rows[place] for place in scored)] if len(scored) > 1 else []
        if name in barred or not shared or metric.get("aggregation") not in AGGREGATES:
            continue
        values = np.array([[rows[place][item][0] for item in shared] for place in scored], dtype=np.float64)
        statistics = np.array([[rows[place][item][1] for item in shared] for place in scored], dtype=np.float64)
        tables.append(Table(statistics, values, AGGREGATES[metric["aggregation"]], bool(metric.get("higher_is_better", True))))
        order.append((metric, scored))
    found: dict[str, list[int]] = {}
    tail = 50 * (1 - resampling.confidence)
    for (metric, scored), (_, drawn) in zip(order, intervals(tables, resampling) if tables else [], strict=True):
        best, sign = _best(scores, scored, metric), 1 if metric.get("higher_is_better", True) else -1
        gaps = drawn[:, [scored.index(best)]] - drawn
        low, high = np.percentile(gaps, [tail, 100 - tail], axis=0)
        alike = [place for at, place in enumerate(scored) if place != best and low[at] <= 0 <= high[at]]
        found[metric["name"]] = sorted(alike, key=lambda place: (-sign * arms[place]["values"][metric["name"]]["mean"], place))
    return found


def _key(axes: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(axes.items())

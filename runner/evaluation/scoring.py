"""Score the arms of an experiment on the same items: what ``scores.json`` and ``items.jsonl`` hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from runner.evaluation.arms import Aligned, Arm, Axes, align, label
from runner.evaluation.bootstrap import Paired, Resampling, differences, holm, intervals
from runner.evaluation.cost import tokens
from runner.evaluation.effects import steps
from runner.evaluation.metrics import METRICS, ItemMetric
from runner.evaluation.tables import MetricTable, tables_of

_FEW = 30


@dataclass(frozen=True)
class Scored:
    """``document`` is ``scores.json``; ``items`` are the rows of ``items.jsonl``; ``warnings`` belong in the report."""

    document: dict[str, Any]
    items: Sequence[dict[str, Any]]
    warnings: Sequence[str]


def score(
    arms: Sequence[Arm] | Aligned,
    metrics: Sequence[str | ItemMetric],
    *,
    baseline: Axes | None = None,
    breakdowns: Sequence[str] = (),
    resampling: Resampling | None = None,
    missing: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Score every arm by every metric on the items that all arms answered.

    Metrics that need nothing but the answers may be given by name. ``baseline`` is the full axes of the arm that the others are
    compared with. ``breakdowns`` names what items are grouped by: ``type``, ``document``, or a name in their ``extra``. ``missing``
    names arms that failed. Raises InputError when the arms share no item, or a metric has nothing to score.
    """
    resampling = resampling or Resampling()
    aligned = arms if isinstance(arms, Aligned) else align(arms)
    warnings = list(aligned.warnings)
    made = [METRICS[metric]() if isinstance(metric, str) else metric for metric in metrics]
    tables = tables_of(aligned.arms, made, progress, warnings.append)
    base = None if baseline is None else next(i for i, arm in enumerate(aligned.arms) if dict(arm.axes) == dict(baseline))
    all_axes = [dict(arm.axes) for arm in aligned.arms]
    document: dict[str, Any] = {
        "metrics": [table.metric.describe() for table in tables],
        "items": len(aligned.items),
        "left_out": dict(aligned.left_out),
        "baseline": None if base is None else all_axes[base],
        "bootstrap": {
            **asdict(resampling),
            "interval": "percentile, items drawn with replacement, the same draws for every arm",
            "p": "two-sided, answers of an item swapped between the two arms at random",
            "p_adjusted": "Holm, over the arms, within each metric; of effects over the effects",
        },
        "arms": [
            {"axes": axes, "n": len(aligned.items), "values": {}, "tokens": tokens(arm.rows)}
            for axes, arm in zip(all_axes, aligned.arms, strict=True)
        ],
        "not_comparable": [
            {"metric": table.metric.key, "arms": [all_axes[first], all_axes[second]], "reason": reason}
            for table in tables
            for (first, second), reason in table.incomparable.items()
        ],
        "missing_arms": list(missing),
    }
    counted = [table.counted for table in tables]
    analysed = intervals(counted, resampling)
    for table, (found, _) in zip(tables, analysed, strict=True):
        for position, interval in zip(table.arms, found, strict=True):
            document["arms"][position]["values"][table.metric.key] = _numbers(asdict(interval))
    drawn = [figures for _, figures in analysed]
    document["paired"] = _compared(tables, drawn, base, all_axes, resampling)
    document["effects"] = _effects(tables, drawn, aligned.arms, baseline, resampling)
    document["breakdowns"] = list(_broken_down(tables, aligned, breakdowns, resampling, warnings))
    warnings += _said(tables, all_axes, base)
    if len(aligned.items) < _FEW:
        warnings.append(f"{len(aligned.items)} items are few: bootstrap intervals are too narrow below about {_FEW}")
    return Scored(document, list(_item_rows(aligned, tables)), warnings)


def _compared(
    tables: Sequence[MetricTable],
    drawn: Sequence[Any],
    base: int | None,
    all_axes: Sequence[dict[str, str]],
    resampling: Resampling,
) -> list[dict[str, Any]]:
    """Every arm against the baseline, by metric, where the two can be compared."""
    if base is None:
        return []
    others: list[list[int]] = []
    for table in tables:
        others.append([arm for arm in table.arms if arm != base and base in table.arms and table.comparable(base, arm)])
    pairs = [[[(_row(table, base), _row(table, arm))] for arm in found] for table, found in zip(tables, others, strict=True)]
    rows = []
    for table, found, results in zip(
        tables, others, differences([table.counted for table in tables], drawn, pairs, resampling), strict=True
    ):
        for arm, result in zip(found, _adjusted(results), strict=True):
            rows.append({"metric": table.metric.key, "arm": all_axes[arm], "baseline": all_axes[base], **result})
    return rows


def _effects(
    tables: Sequence[MetricTable], drawn: Sequence[Any], arms: Sequence[Arm], baseline: Axes | None, resampling: Resampling
) -> list[dict[str, Any]]:
    """What each axis does, averaged over the arms that differ in nothing else; ``pairs`` is 0 where there are none."""
    asked = steps(arms, baseline)
    usable = [[_usable(table, step.pairs) for step in asked] for table in tables]
    rows_of = [
        [[(_row(table, a), _row(table, b)) for a, b in pairs] for pairs in found if pairs]
        for table, found in zip(tables, usable, strict=True)
    ]
    results = differences([table.counted for table in tables], drawn, rows_of, resampling)
    rows = []
    for table, found, numbers in zip(tables, usable, results, strict=True):
        adjusted = iter(_adjusted(numbers))
        for step, pairs in zip(asked, found, strict=True):
            about = {"metric": table.metric.key, "axis": step.axis, "from": step.before, "to": step.after, "pairs": len(pairs)}
            rows.append({**about, **(next(adjusted) if pairs else {})})
    return rows


def _usable(table: MetricTable, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(a, b) for a, b in pairs if a in table.arms and b in table.arms and table.comparable(a, b)]


def _broken_down(
    tables: Sequence[MetricTable], aligned: Aligned, names: Sequence[str], resampling: Resampling, warnings: list[str]
) -> Iterator[dict[str, Any]]:
    """The arms' figures over the items of each group, where there are two groups or more."""
    rows = aligned.arms[0].rows
    for name in names:
        groups: dict[str, Any] = {}
        for item, row in enumerate(rows):
            for group in _groups(row, name):
                groups.setdefault(group, np.zeros(len(rows), dtype=bool))[item] = True
        if not groups and name not in ("type", "document"):
            warnings.append(f"no item has a value of `{name}`, so there is no breakdown by it")
        for group, chosen in sorted(groups.items()) if len(groups) > 1 else ():
            parts = [(table, part) for table in tables if (part := table.only(chosen)).n]
            values: list[dict[str, Any]] = [{} for _ in aligned.arms]
            for (table, _), (found, _) in zip(parts, intervals([part for _, part in parts], resampling), strict=True):
                for position, interval in zip(table.arms, found, strict=True):
                    values[position][table.metric.key] = _numbers(asdict(interval))
            arms = [{"axes": dict(arm.axes), "values": found} for arm, found in zip(aligned.arms, values, strict=True)]
            yield {"by": name, "group": group, "items": int(chosen.sum()), "arms": arms}


def _groups(row: Mapping[str, Any], name: str) -> list[str]:
    """The groups of an item: its type, each of its documents, or a value that the recipe kept."""
    if name == "document":
        return list(dict.fromkeys(row.get("documents") or ()))
    value = row.get("type") if name == "type" else (row.get("extra") or {}).get(name)
    return [] if value is None or value == "" or isinstance(value, list | dict) else [str(value)]


def _said(tables: Sequence[MetricTable], all_axes: Sequence[dict[str, str]], base: int | None) -> Iterator[str]:
    """Which metrics are for some arms alone, and which figures do not compare."""
    partly: dict[tuple[int, ...], list[str]] = {}
    for table in tables:
        if len(table.arms) < len(all_axes):
            partly.setdefault(tuple(table.arms), []).append(table.metric.title)
    for arms, titles in partly.items():
        without = [label(axes) for position, axes in enumerate(all_axes) if position not in arms]
        listed = "; ".join(without[:4]) + ("; ..." if len(without) > 4 else "")
        text = f"{', '.join(titles)}: for {len(arms)} of {len(all_axes)} arms, there is nothing to score of {listed}"
        yield text + (", the baseline among them, so no arm is compared with it" if base is not None and base not in arms else "")
    for table in tables:
        if table.incomparable:
            (first, second), reason = next(iter(table.incomparable.items()))
            more = f", nor are {len(table.incomparable) - 1} other pairs of arms" if len(table.incomparable) > 1 else ""
            yield f"{table.metric.title} of {label(all_axes[first])} and {label(all_axes[second])} is not comparable: {reason}{more}"


def _row(table: MetricTable, arm: int) -> int:
    row = table.row(arm)
    assert row is not None
    return row


def _adjusted(results: Sequence[Paired]) -> list[dict[str, float | int]]:
    return [_numbers({**asdict(result), "p_adjusted": p}) for result, p in zip(results, holm([each.p for each in results]), strict=True)]


def _item_rows(aligned: Aligned, tables: Sequence[MetricTable]) -> Iterator[dict[str, Any]]:
    for position, arm in enumerate(aligned.arms):
        there = [(table, row) for table in tables if (row := table.row(position)) is not None]
        for index, item in enumerate(aligned.items):
            scored = [(table, row) for table, row in there if not np.isnan(table.scores[row, index])]
            found: dict[str, Any] = {"id": item, "axes": dict(arm.axes)}
            found["values"] = {table.metric.key: _rounded(float(table.scores[row, index])) for table, row in scored}
            found["statistics"] = {
                table.metric.key: [_rounded(float(number)) for number in table.statistics[row, index]]
                for table, row in scored
                if table.metric.aggregation != "mean"
            }
            yield {name: value for name, value in found.items() if value or name != "statistics"}


def _numbers(values: Mapping[str, float | int]) -> dict[str, float | int]:
    return {name: value if isinstance(value, int) else _rounded(value) for name, value in values.items()}


def _rounded(value: float) -> float:
    """12 digits: the last bits of a matrix product depend on the number of threads, and payloads are bit-equal."""
    return float(f"{value:.12g}")


__all__ = ["Aligned", "Arm", "Scored", "align", "label", "score"]

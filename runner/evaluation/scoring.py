"""Score the arms of an experiment on the same items: what ``scores.json`` and ``items.jsonl`` hold."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from runner.evaluation.arms import Aligned, Arm, Axes, align, label
from runner.evaluation.bootstrap import Resampling, intervals
from runner.evaluation.contrasts import Contrasts
from runner.evaluation.cost import tokens
from runner.evaluation.metrics import METRICS, ItemMetric
from runner.evaluation.rounding import numbers, rounded
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
            "p_adjusted": "Holm, within each metric: over the arms, over the effects, over the interactions",
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
            document["arms"][position]["values"][table.metric.key] = numbers(asdict(interval))
    contrasts = Contrasts(tables, [figures for _, figures in analysed], aligned.arms, baseline, resampling)
    document["paired"], document["effects"], document["interactions"] = contrasts.paired(), contrasts.effects(), contrasts.interactions()
    document["breakdowns"] = list(_broken_down(tables, aligned, breakdowns, resampling, warnings))
    warnings += _said(tables, all_axes, base)
    warnings += _too_few_draws(document, resampling)
    if len(aligned.items) < _FEW:
        warnings.append(f"{len(aligned.items)} items are few: bootstrap intervals are too narrow below about {_FEW}")
    return Scored(document, list(_item_rows(aligned, tables)), warnings)


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
                    values[position][table.metric.key] = numbers(asdict(interval))
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


def _too_few_draws(document: Mapping[str, Any], resampling: Resampling) -> Iterator[str]:
    """Where no difference could be found, however large: a p value is no less than one draw in all, and is corrected by their number."""
    level = 1 - resampling.confidence
    for what in ("paired", "effects", "interactions"):
        compared = max(Counter(row["metric"] for row in document[what] if "p" in row).values(), default=0)
        if compared > level * (1 + resampling.samples):
            least = compared / (1 + resampling.samples)
            yield (
                f"{compared} p values of {resampling.samples:,} draws, corrected for their number, are no less than {least:.2g}: raise "
                f"`samples` to {math.ceil(10 * compared / level):,}"
            )
            return


def _item_rows(aligned: Aligned, tables: Sequence[MetricTable]) -> Iterator[dict[str, Any]]:
    for position, arm in enumerate(aligned.arms):
        there = [(table, row) for table in tables if (row := table.row(position)) is not None]
        for index, item in enumerate(aligned.items):
            scored = [(table, row) for table, row in there if not np.isnan(table.scores[row, index])]
            found: dict[str, Any] = {"id": item, "axes": dict(arm.axes)}
            found["values"] = {table.metric.key: rounded(float(table.scores[row, index])) for table, row in scored}
            found["statistics"] = {
                table.metric.key: [rounded(float(number)) for number in table.statistics[row, index]]
                for table, row in scored
                if table.metric.aggregation != "mean"
            }
            yield {name: value for name, value in found.items() if value or name != "statistics"}


__all__ = ["Aligned", "Arm", "Scored", "align", "label", "score"]

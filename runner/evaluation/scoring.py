"""Score the arms of an experiment on the same items: what ``scores.json`` and ``items.jsonl`` hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runner.errors import InputError
from runner.evaluation.aggregates import AGGREGATES, Array
from runner.evaluation.bootstrap import Resampling, Table, holm, intervals, paired
from runner.evaluation.metrics import METRICS, ItemMetric

Axes = Mapping[str, str]
_KEPT = ("id", "question", "reference", "answer", "reference_loss", "reference_tokens")
_FEW = 30


@dataclass(frozen=True)
class Arm:
    """A system's answers: rows of ``answers.jsonl`` under the axis values that name it."""

    axes: Axes
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Scored:
    """``document`` is ``scores.json``; ``items`` are the rows of ``items.jsonl``; ``warnings`` belong in the report."""

    document: dict[str, Any]
    items: Sequence[dict[str, Any]]
    warnings: Sequence[str]


def read_answers(file: Path) -> list[dict[str, Any]]:
    """The fields of ``answers.jsonl`` that are scored. Raises InputError, naming the row, for a broken or repeated one."""
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                row = json.loads(line)
                lacking = [name for name in ("id", "reference", "answer") if not isinstance(row.get(name), str)]
                if lacking:
                    raise InputError(f"the row has no text as {', '.join(lacking)}", where=f"{file}:{number}")
                if row["id"] in seen:
                    raise InputError(f"the item {row['id']} is answered twice", where=f"{file}:{number}")
                seen.add(row["id"])
                rows.append({name: row[name] for name in _KEPT if name in row})
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"the answers cannot be read: {error}", where=str(file)) from None
    return rows


def label(axes: Axes) -> str:
    """``system=lora, rag=none``, or ``the only arm``."""
    return ", ".join(f"{axis}={value}" for axis, value in axes.items()) or "the only arm"


def score(
    arms: Sequence[Arm],
    metrics: Sequence[str],
    *,
    baseline: Axes | None = None,
    resampling: Resampling | None = None,
    missing: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Score every arm by every metric on the items that all arms answered.

    ``baseline`` is the full axes of the arm that the others are compared with. ``missing`` names arms that failed.
    Raises InputError when the arms share no item, or a metric has nothing to score.
    """
    resampling = resampling or Resampling()
    if not arms:
        raise InputError("there is no arm to evaluate")
    by_axes = Counter(label(arm.axes) for arm in arms)
    if twice := [name for name, count in by_axes.items() if count > 1]:
        raise InputError(f"two sets of answers are both called {twice[0]}", remedy="tell them apart by an axis of the matrix")
    shared, left_out, warnings = _shared_items(arms)
    aligned = [_aligned(arm, shared) for arm in arms]
    tables = _tables(arms, aligned, [METRICS[name]() for name in metrics], progress)

    base = None if baseline is None else next(i for i, arm in enumerate(arms) if dict(arm.axes) == dict(baseline))
    document: dict[str, Any] = {
        "metrics": [table.metric.describe() for table in tables],
        "items": len(shared),
        "left_out": left_out,
        "baseline": None if base is None else dict(arms[base].axes),
        "bootstrap": {
            **asdict(resampling),
            "interval": "percentile, items drawn with replacement, the same draws for every arm",
            "p": "two-sided, answers of an item swapped between the two arms at random",
            "p_adjusted": "Holm, over the arms, within each metric",
        },
        "arms": [{"axes": dict(arm.axes), "n": len(shared), "values": {}} for arm in arms],
        "paired": [],
        "missing_arms": list(missing),
    }
    counted = [table.counted for table in tables]
    analysed = intervals(counted, resampling)
    for table, (found, _) in zip(tables, analysed, strict=True):
        for entry, interval in zip(document["arms"], found, strict=True):
            entry["values"][table.metric.key] = _numbers(asdict(interval))
        if table.counted.n < len(shared):
            warnings.append(f"{table.metric.title} is over {table.counted.n} of {len(shared)} items: the others have no score in some arm")
    if base is not None:
        differences = paired(counted, [drawn for _, drawn in analysed], base, resampling)
        others = [dict(arm.axes) for i, arm in enumerate(arms) if i != base]
        for table, pairs in zip(tables, differences, strict=True):
            adjusted = holm([pair.p for pair in pairs])
            document["paired"] += [
                {"metric": table.metric.key, "arm": arm, "baseline": document["baseline"], **_numbers({**asdict(pair), "p_adjusted": p})}
                for arm, pair, p in zip(others, pairs, adjusted, strict=True)
            ]
    if len(shared) < _FEW:
        warnings.append(f"{len(shared)} items are few: bootstrap intervals are too narrow below about {_FEW}")
    return Scored(document, list(_item_rows(arms, shared, tables)), warnings)


@dataclass(frozen=True)
class _Scores:
    """One metric over all arms: scores (arms, shared items), NaN where there is none; their statistics; what counts of them."""

    metric: ItemMetric
    scores: Array
    statistics: Array
    counted: Table  # the items that every arm has a score for


def _tables(
    arms: Sequence[Arm], aligned: Sequence[Sequence[Mapping[str, Any]]], metrics: Sequence[ItemMetric], progress: Callable[[int, int], None]
) -> list[_Scores]:
    total, done = len(metrics) * sum(len(rows) for rows in aligned), 0
    tables = []
    for metric in metrics:
        scores, statistics = [], []
        for arm, rows in zip(arms, aligned, strict=True):
            parts = []
            for start in range(0, len(rows), 250):
                part = rows[start : start + 250]
                parts.append(metric.items(**metric.columns(part)))
                done += len(part)
                progress(done, total)
            scores.append(np.concatenate([part[0] for part in parts]))
            statistics.append(np.concatenate([part[1] for part in parts]))
            if np.isnan(scores[-1]).all():
                raise InputError(
                    f"{metric.key} has nothing to score: the answers of {label(arm.axes)} hold no reference_loss",
                    remedy="set reference_loss: true in the step that answers, or leave the metric out",
                )
        figures, sums = np.stack(scores), np.stack(statistics)
        kept = ~np.isnan(figures).any(axis=0)
        if not kept.any():
            raise InputError(f"{metric.key} has no item that every arm has a score for")
        counted = Table(sums[:, kept], figures[:, kept], AGGREGATES[metric.aggregation], metric.higher_is_better)
        tables.append(_Scores(metric, figures, sums, counted))
    return tables


def _shared_items(arms: Sequence[Arm]) -> tuple[list[str], dict[str, Any], list[str]]:
    """Ids answered by every arm, with the same question and reference in all; what is left out; warnings."""
    first = {row["id"]: (row.get("question"), row["reference"]) for row in arms[0].rows}
    shared, changed = set(first), set()
    for arm in arms[1:]:
        shared &= {row["id"] for row in arm.rows}
        changed |= {row["id"] for row in arm.rows if row["id"] in first and first[row["id"]] != (row.get("question"), row["reference"])}
    kept = [row["id"] for row in arms[0].rows if row["id"] in shared - changed]
    everything = {row["id"] for arm in arms for row in arm.rows}
    if not kept:
        counts = "; ".join(f"{label(arm.axes)}: {len(arm.rows)}" for arm in arms)
        raise InputError(
            f"no item was answered by every arm ({counts})" if everything else "the answers are empty",
            remedy="arms are compared on the same questions: give every arm the same split",
        )
    left_out = {"items": len(everything) - len(kept), "changed": len(changed & shared)}
    warnings = []
    if left_out["items"]:
        counts = ", ".join(f"{label(arm.axes)} {len(arm.rows)}" for arm in arms)
        warnings.append(
            f"{left_out['items']} of {len(everything)} items are left out, because not every arm answered the same ones ({counts})"
        )
    if left_out["changed"]:
        warnings.append(f"{left_out['changed']} of them have the same id, but another question or reference in some arm")
    return kept, left_out, warnings


def _aligned(arm: Arm, shared: Sequence[str]) -> list[Mapping[str, Any]]:
    rows = {row["id"]: row for row in arm.rows}
    return [rows[item] for item in shared]


def _item_rows(arms: Sequence[Arm], shared: Sequence[str], tables: Sequence[_Scores]) -> Iterator[dict[str, Any]]:
    for position, arm in enumerate(arms):
        for index, item in enumerate(shared):
            scored = [table for table in tables if not np.isnan(table.scores[position, index])]
            row: dict[str, Any] = {"id": item, "axes": dict(arm.axes)}
            row["values"] = {table.metric.key: _rounded(float(table.scores[position, index])) for table in scored}
            row["statistics"] = {
                table.metric.key: [_rounded(float(number)) for number in table.statistics[position, index]]
                for table in scored
                if table.metric.aggregation != "mean"
            }
            yield {name: value for name, value in row.items() if value or name != "statistics"}


def _numbers(values: Mapping[str, float | int]) -> dict[str, float | int]:
    return {name: value if isinstance(value, int) else _rounded(value) for name, value in values.items()}


def _rounded(value: float) -> float:
    """12 digits: the last bits of a matrix product depend on the number of threads, and payloads are bit-equal."""
    return float(f"{value:.12g}")

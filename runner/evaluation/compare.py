"""Compare two arms of a committed evaluation, from its ``items.jsonl``, the way its ``scores.json`` was made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runner.errors import InputError
from runner.evaluation.bootstrap import Paired, Resampling, Table, intervals, paired

Axes = Mapping[str, str]


def read_items(file: Path) -> list[dict[str, Any]]:
    """The rows of ``items.jsonl``."""
    try:
        with file.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise InputError(f"the items' scores cannot be read: {error}", where=str(file)) from None


def compare(
    items: Iterable[Mapping[str, Any]],
    arm_a: Axes,
    arm_b: Axes,
    metric: str,
    *,
    aggregation: str = "mean",
    higher_is_better: bool = True,
    resampling: Resampling | None = None,
) -> Paired:
    """Arm a minus arm b, over the items that both have a score for.

    ``aggregation`` and ``higher_is_better`` are the metric's, as in ``scores.json``. With the same resampling and the
    same items the result equals the row of ``paired`` there. Raises InputError when the arms share no scored item.
    """
    import numpy as np

    from runner.evaluation.aggregates import AGGREGATES

    resampling = resampling or Resampling()
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for row in items:
        for arm, axes in zip(found, (arm_a, arm_b), strict=True):
            if row["axes"] == axes and metric in row["values"]:
                arm[row["id"]] = (row["values"][metric], row.get("statistics", {}).get(metric) or [row["values"][metric]])
    first, second = found
    shared = [item for item in second if item in first]
    if not shared:
        raise InputError(f"the arms {dict(arm_a)} and {dict(arm_b)} share no item with a score for {metric}")
    values = np.array([[arm[item][0] for item in shared] for arm in (second, first)], dtype=np.float64)
    statistics = np.array([[arm[item][1] for item in shared] for arm in (second, first)], dtype=np.float64)
    table = Table(statistics, values, AGGREGATES[aggregation], higher_is_better)
    [(_, drawn)] = intervals([table], resampling)
    return paired([table], [drawn], 0, resampling)[0][0]

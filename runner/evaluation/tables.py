"""One metric over several arms: who has a score for what, and who can be compared with whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runner.errors import InputError
from runner.evaluation.aggregates import AGGREGATES, Array
from runner.evaluation.arms import Arm, label
from runner.evaluation.bootstrap import Table
from runner.evaluation.metric import ItemMetric

Mask = np.ndarray[Any, np.dtype[np.bool_]]

_PART = 250  # rows scored between two looks at the progress


@dataclass(frozen=True)
class MetricTable:
    """A metric's scores of ``arms`` (positions among all arms; those without any score are not here) on the shared items.

    ``scores`` is (arms, items), NaN where there is none, ``statistics`` (arms, items, width). ``kept`` (items,) says which items every
    one of these arms has a score for; ``counted`` is the table of those. ``incomparable`` gives the reason by pair of arms.
    """

    metric: ItemMetric
    arms: Sequence[int]
    scores: Array
    statistics: Array
    kept: Mask
    counted: Table
    incomparable: dict[tuple[int, int], str]

    def row(self, arm: int) -> int | None:
        """Where an arm stands in this table."""
        return self.arms.index(arm) if arm in self.arms else None

    def comparable(self, first: int, second: int) -> bool:
        return (min(first, second), max(first, second)) not in self.incomparable

    def only(self, chosen: Mask) -> Table:
        """The counted items of ``chosen`` (items,)."""
        part = self.kept & chosen
        return Table(self.statistics[:, part], self.scores[:, part], self.counted.aggregate, self.counted.higher_is_better)


def tables_of(
    arms: Sequence[Arm], metrics: Sequence[ItemMetric], progress: Callable[[int, int], None], warn: Callable[[str], None]
) -> list[MetricTable]:
    """Score aligned arms by every metric. Raises InputError where a metric has nothing to score in any arm."""
    total, done = len(metrics) * sum(len(arm.rows) for arm in arms), 0
    tables = []
    for metric in metrics:
        found: dict[int, tuple[Array, Array]] = {}
        for position, arm in enumerate(arms):
            parts = []
            for start in range(0, len(arm.rows), _PART):
                part = arm.rows[start : start + _PART]
                parts.append(metric.items(**metric.columns(part)))
                done += len(part)
                progress(done, total)
            scores = np.concatenate([part[0] for part in parts])
            if not np.isnan(scores).all():
                found[position] = scores, np.concatenate([part[1] for part in parts])
        tables.append(_table(metric, arms, found, warn))
    return tables


def _table(metric: ItemMetric, arms: Sequence[Arm], found: dict[int, tuple[Array, Array]], warn: Callable[[str], None]) -> MetricTable:
    what, remedy = metric.lacks
    if not found:
        raise InputError(f"{metric.key} has nothing to score: the answers of {label(arms[0].axes)} hold no {what}", remedy=remedy)
    scores, statistics = np.stack([each[0] for each in found.values()]), np.stack([each[1] for each in found.values()])
    scored = ~np.isnan(scores)
    kept: Mask = np.asarray(scored.all(axis=0))
    if not kept.any():
        raise InputError(f"{metric.key} has no item that every arm has a score for")
    if (partly := int(scored.any(axis=0).sum())) > kept.sum():
        warn(f"{metric.title} is over {int(kept.sum())} of {partly} items: the others have no score in some arm")
    positions = list(found)
    incomparable = {
        (first, second): reason
        for at, first in enumerate(positions)
        for second in positions[at + 1 :]
        if (reason := metric.incomparable(arms[first].rows, arms[second].rows))
    }
    counted = Table(statistics[:, kept], scores[:, kept], AGGREGATES[metric.aggregation], metric.higher_is_better)
    return MetricTable(metric, positions, scores, statistics, kept, counted, incomparable)

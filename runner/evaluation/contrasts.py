"""Arms against each other, as rows of ``scores.json``: against the baseline, along one axis, and along two at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from runner.evaluation.aggregates import Array
from runner.evaluation.arms import Arm, Axes
from runner.evaluation.bootstrap import Paired, Resampling, differences, holm
from runner.evaluation.effects import interactions, steps
from runner.evaluation.rounding import numbers
from runner.evaluation.tables import MetricTable

Rows = list[dict[str, Any]]
#: Pairs of arms (before, after), as positions among all arms.
Pairs = Sequence[tuple[int, int]]


class Contrasts:
    """The arms' drawn figures, and what is asked of them. ``drawn`` holds those of each table, (samples, arms)."""

    def __init__(
        self, tables: Sequence[MetricTable], drawn: Sequence[Array], arms: Sequence[Arm], baseline: Axes | None, resampling: Resampling
    ) -> None:
        self._tables, self._drawn, self._arms, self._baseline, self._resampling = tables, drawn, arms, baseline, resampling

    def paired(self) -> Rows:
        """Every arm against the baseline, by metric, where the two can be compared."""
        all_axes = [dict(arm.axes) for arm in self._arms]
        if self._baseline is None:
            return []
        base = all_axes.index(dict(self._baseline))
        asked = [[[(base, arm)] for arm in table.arms if arm != base and _usable(table, (base, arm))] for table in self._tables]
        return [
            {"metric": table.metric.key, "arm": all_axes[arm], "baseline": all_axes[base], **result}
            for table, pairs, results in zip(self._tables, asked, self._differences(asked), strict=True)
            for [(_, arm)], result in zip(pairs, results, strict=True)
        ]

    def effects(self) -> Rows:
        """What each axis does, averaged over the arms that differ in nothing else; ``pairs`` is 0 where there are none."""
        asked = steps(self._arms, self._baseline)
        usable = [[[pair for pair in step.pairs if _usable(table, pair)] for step in asked] for table in self._tables]
        rows = []
        for table, found, results in zip(self._tables, usable, self._differences(usable), strict=True):
            told = iter(results)
            for step, pairs in zip(asked, found, strict=True):
                about = {"metric": table.metric.key, "axis": step.axis, "from": step.before, "to": step.after, "pairs": len(pairs)}
                rows.append({**about, **(next(told) if pairs else {})})
        return rows

    def interactions(self) -> Rows:
        """How much more a step along one axis does after a step along another than before it; nothing where four arms are not there."""
        asked = interactions(self._arms, self._baseline)
        usable = [[[square for square in each.squares if _usable(table, square)] for each in asked] for table in self._tables]
        # The first step after the second, and, turned round, before it: the sum of the two is twice their mean.
        pairs = [
            [[pair for neither, one, other, both in squares for pair in ((other, both), (one, neither))] for squares in found]
            for found in usable
        ]
        rows = []
        for table, found, results in zip(self._tables, usable, self._differences(pairs, scale=2.0), strict=True):
            told = iter(results)
            for each, squares in zip(asked, found, strict=True):
                if squares:
                    both = (each.first, each.second)
                    about = {"metric": table.metric.key, "axes": [step.axis for step in both], "squares": len(squares)}
                    rows.append({**about, "from": [step.before for step in both], "to": [step.after for step in both], **next(told)})
        return rows

    def _differences(self, asked: Sequence[Sequence[Pairs]], scale: float = 1.0) -> Iterator[list[dict[str, float | int]]]:
        """Of each table: the numbers of every step that has a pair, with Holm's correction over them."""
        rows = [
            [[(_row(table, a), _row(table, b)) for a, b in pairs] for pairs in found if pairs]
            for table, found in zip(self._tables, asked, strict=True)
        ]
        for results in differences([table.counted for table in self._tables], self._drawn, rows, self._resampling, scale):
            yield _adjusted(results)


def _usable(table: MetricTable, arms: Sequence[int]) -> bool:
    return all(arm in table.arms for arm in arms) and all(table.comparable(a, b) for a, b in combinations(arms, 2))


def _row(table: MetricTable, arm: int) -> int:
    row = table.row(arm)
    assert row is not None
    return row


def _adjusted(results: Sequence[Paired]) -> list[dict[str, float | int]]:
    return [numbers({**asdict(result), "p_adjusted": p}) for result, p in zip(results, holm([each.p for each in results]), strict=True)]

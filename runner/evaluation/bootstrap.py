"""Uncertainty by resampling items: percentile intervals, paired differences, sign-flip p values, Holm's correction.

Efron and Tibshirani (1993) for the bootstrap, Koehn (2004) for its paired use on corpus metrics, Good (2005) for the
permutation test, Holm (1979). One draw is the same set of items for every arm and metric: that is what pairs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from runner.evaluation.aggregates import Aggregate, Array

#: Cells of the draws x items matrix that are held at once (8 bytes each).
_CELLS = 4_000_000


@dataclass(frozen=True)
class Resampling:
    """How many draws, how wide the intervals are, and where the random numbers start."""

    samples: int = 1000
    confidence: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Interval:
    """A figure of one arm and its percentile interval, over ``n`` items."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Paired:
    """One arm minus another on the same ``n`` items: the interval of the difference, the two-sided p value of no
    difference, and on how many items the first was better, worse and equal."""

    difference: float
    low: float
    high: float
    p: float
    n: int
    better: int
    worse: int
    ties: int


@dataclass(frozen=True)
class Table:
    """One metric of several arms on the same items: statistics (arms, n, width) and the items' scores (arms, n)."""

    statistics: Array
    scores: Array
    aggregate: Aggregate
    higher_is_better: bool = True

    @property
    def n(self) -> int:
        return int(self.statistics.shape[1])

    def figures(self) -> Array:
        """(arms,)"""
        return self.aggregate(self.statistics.sum(axis=1), self.n)


def intervals(tables: Sequence[Table], resampling: Resampling) -> list[tuple[list[Interval], Array]]:
    """Of each table: every arm's figure with its interval, and the drawn figures (samples, arms)."""
    found = []
    for table, totals in zip(tables, _together(_resampled, [table.statistics for table in tables], resampling), strict=True):
        drawn, figures = table.aggregate(totals, table.n), table.figures()
        lows, highs = _percentiles(drawn, resampling.confidence)
        arms = [Interval(float(mean), float(low), float(high), table.n) for mean, low, high in zip(figures, lows, highs, strict=True)]
        found.append((arms, drawn))
    return found


def paired(tables: Sequence[Table], drawn: Sequence[Array], baseline: int, resampling: Resampling) -> list[list[Paired]]:
    """Of each table: every arm but ``baseline`` minus that arm, in the order of the arms; ``drawn`` is from :func:`intervals`."""
    steps = [[[(baseline, arm)] for arm in range(len(table.statistics)) if arm != baseline] for table in tables]
    return differences(tables, drawn, steps, resampling)


def differences(
    tables: Sequence[Table],
    drawn: Sequence[Array],
    steps: Sequence[Sequence[Sequence[tuple[int, int]]]],
    resampling: Resampling,
    scale: float = 1.0,
) -> list[list[Paired]]:
    """Of each table and each of its steps: second arm minus first, averaged over the step's pairs of arms (one pair or more).

    An item's answers are swapped between the arms of all pairs at once, so that the arms of a factorial experiment stay together.
    With several pairs, ``better``, ``worse`` and ``ties`` go by the mean of an item's gains. A difference of two differences is the
    mean of one pair and of the other turned round, times the ``scale`` 2.
    """
    asked = [i for i, each in enumerate(steps) if each]
    chosen = [sorted({pair for step in steps[i] for pair in step}) for i in asked]
    gaps = [np.stack([tables[i].statistics[b] - tables[i].statistics[a] for a, b in pairs]) for i, pairs in zip(asked, chosen, strict=True)]
    found: list[list[Paired]] = [[] for _ in tables]
    for i, pairs, moved in zip(asked, chosen, _together(_flipped, gaps, resampling), strict=True):
        table, totals, figures = tables[i], tables[i].statistics.sum(axis=1), tables[i].figures()
        middle = np.stack([(totals[a] + totals[b]) / 2 for a, b in pairs])
        # Halves of whole counts are exact in binary, so that BLEU meets "no match" where there is none.
        flipped = table.aggregate(middle + moved, table.n) - table.aggregate(middle - moved, table.n)
        for step in steps[i]:
            at = [pairs.index(pair) for pair in step]
            first, second = [a for a, _ in step], [b for _, b in step]
            difference = scale * float((figures[second] - figures[first]).mean())
            extreme = int((np.abs(scale * flipped[:, at].mean(axis=1)) >= abs(difference) * (1 - 1e-9) - 1e-12).sum())
            low, high = _percentiles(scale * (drawn[i][:, second] - drawn[i][:, first]).mean(axis=1), resampling.confidence)
            gain = (table.scores[second] - table.scores[first]).mean(axis=0) * (1 if table.higher_is_better else -1)
            better, worse = int((gain > 1e-9).sum()), int((gain < -1e-9).sum())
            p = (1 + extreme) / (1 + resampling.samples)
            found[i].append(Paired(difference, float(low), float(high), p, table.n, better, worse, table.n - better - worse))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: reject where the result is below the level, and the chance of any false one stays below it."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _together(draw: Callable[[Array, Resampling], Array], statistics: Sequence[Array], resampling: Resampling) -> list[Array]:
    """``draw`` over the columns of all metrics and arms at once: sums (samples, arms, width) of each."""
    sums: dict[int, Array] = {}
    for n in {each.shape[1] for each in statistics}:
        alike = [i for i, each in enumerate(statistics) if each.shape[1] == n]
        columns = [statistics[i].transpose(1, 0, 2).reshape(n, -1) for i in alike]
        parts = np.split(draw(np.concatenate(columns, axis=1), resampling), np.cumsum([part.shape[1] for part in columns])[:-1], axis=1)
        sums.update((i, part.reshape(len(part), statistics[i].shape[0], -1)) for i, part in zip(alike, parts, strict=True))
    return [sums[i] for i in range(len(statistics))]


def _resampled(columns: Array, resampling: Resampling) -> Array:
    """Sums (samples, width) of rows (n, width) drawn with replacement."""
    n = len(columns)
    generator = np.random.default_rng([resampling.seed, 1])
    sums = []
    for size in _blocks(resampling.samples, n):
        counts = np.empty((size, n))
        for row in counts:
            row[:] = np.bincount(generator.integers(0, n, n), minlength=n)
        sums.append(counts @ columns)
    return np.concatenate(sums)


def _flipped(columns: Array, resampling: Resampling) -> Array:
    """Half the sums (samples, width) of rows (n, width) whose signs are drawn at random."""
    n = len(columns)
    generator = np.random.default_rng([resampling.seed, 2])
    half = columns.sum(axis=0) / 2
    sums = []
    for size in _blocks(resampling.samples, n):
        bits = np.unpackbits(generator.integers(0, 256, (size, -(-n // 8)), dtype=np.uint8), axis=1, count=n)
        sums.append(bits.astype(np.float64) @ columns - half)
    return np.concatenate(sums)


def _blocks(samples: int, n: int) -> Iterator[int]:
    size = max(1, _CELLS // n)
    yield from (min(size, samples - done) for done in range(0, samples, size))


def _percentiles(drawn: Array, confidence: float) -> tuple[Array, Array]:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(drawn, [tail, 100 - tail], axis=0)
    return low, high

"""Which ingredient helped: the main effect of each axis of a factorial experiment, from arms that differ in nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.evaluation.arms import Arm, Axes


@dataclass(frozen=True)
class Effect:
    """A step along one axis, ``before`` to ``after``, and the ``pairs`` of arms (before, after) that differ in it alone."""

    axis: str
    before: str
    after: str
    pairs: Sequence[tuple[int, int]]


def steps(arms: Sequence[Arm], baseline: Axes | None) -> list[Effect]:
    """The steps from each axis's first value to its others, where at least two axes vary; with a baseline from its value.

    A step without pairs cannot be told from the other axes. Arms that do not have the axis take no part.
    """
    values: dict[str, dict[str, None]] = {}
    for arm in arms:
        for axis, value in arm.axes.items():
            values.setdefault(axis, {})[value] = None
    varying = {axis: list(found) for axis, found in values.items() if len(found) > 1}
    if len(varying) < 2:
        return []
    by_axes = {frozenset(arm.axes.items()): position for position, arm in enumerate(arms)}
    found = []
    for axis, levels in varying.items():
        before = (baseline or {}).get(axis, levels[0])
        for after in levels:
            if after != before:
                pairs = [
                    (by_axes[twin], position)
                    for position, arm in enumerate(arms)
                    if arm.axes.get(axis) == after and (twin := frozenset({**arm.axes, axis: before}.items())) in by_axes
                ]
                found.append(Effect(axis, before, after, pairs))
    return found

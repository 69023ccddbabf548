"""Which ingredient helped: what each axis of a factorial experiment does, and whether it does more beside another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from runner.evaluation.arms import Arm, Axes


@dataclass(frozen=True)
class Effect:
    """A step along one axis, ``before`` to ``after``, and the ``pairs`` of arms (before, after) that differ in it alone."""

    axis: str
    before: str
    after: str
    pairs: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Interaction:
    """Steps along two axes, and the ``squares`` of arms (neither step, the first, the second, both) that differ in them alone."""

    first: Effect
    second: Effect
    squares: Sequence[tuple[int, int, int, int]]


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
    places = _places(arms)
    found = []
    for axis, levels in varying.items():
        before = (baseline or {}).get(axis, levels[0])
        for after in levels:
            if after != before:
                pairs = [
                    (places[twin], position)
                    for position, arm in enumerate(arms)
                    if arm.axes.get(axis) == after and (twin := _with(arm, {axis: before})) in places
                ]
                found.append(Effect(axis, before, after, pairs))
    return found


def interactions(arms: Sequence[Arm], baseline: Axes | None) -> list[Interaction]:
    """Every two of these steps along different axes whose four arms there are."""
    places = _places(arms)
    found = []
    for first, second in combinations(steps(arms, baseline), 2):
        squares = []
        for both, arm in enumerate(arms):
            if arm.axes.get(first.axis) == first.after and arm.axes.get(second.axis) == second.after:  # never along one axis
                neither = places.get(_with(arm, {first.axis: first.before, second.axis: second.before}))
                one, other = places.get(_with(arm, {second.axis: second.before})), places.get(_with(arm, {first.axis: first.before}))
                if neither is not None and one is not None and other is not None:
                    squares.append((neither, one, other, both))
        if squares:
            found.append(Interaction(first, second, squares))
    return found


def _places(arms: Sequence[Arm]) -> dict[frozenset[tuple[str, str]], int]:
    return {frozenset(arm.axes.items()): position for position, arm in enumerate(arms)}


def _with(arm: Arm, changed: Axes) -> frozenset[tuple[str, str]]:
    return frozenset({**arm.axes, **changed}.items())

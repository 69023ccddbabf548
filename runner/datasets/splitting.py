"""A set of examples split into parts so that no document stands in two of them."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence
from math import floor
from typing import Any, Literal

from runner.errors import StepError

Example = dict[str, Any]
GroupBy = Literal["document", "none"]

#: Combinations of part sizes, and steps over them, up to which more than two parts are filled together.
_STATES, _WORK = 5_000_000, 5_000_000_000


def groups(examples: Sequence[Example], by: GroupBy = "document") -> list[list[int]]:
    """Places of examples that must stay together, in order of first appearance.

    By ``document``: examples that share a document, directly or through others that span several. An example without a
    document is a group of its own.
    """
    parents: dict[Hashable, Hashable] = {}

    def find(node: Hashable) -> Hashable:
        root = node
        while parents.setdefault(root, root) != root:
            root = parents[root]
        while parents[node] != root:
            parents[node], node = root, parents[node]
        return root

    if by == "document":
        for place, example in enumerate(examples):
            for document in example.get("documents", []):
                parents[find(("document", document))] = find(place)
    found: dict[Hashable, list[int]] = {}
    for place in range(len(examples)):
        found.setdefault(find(place), []).append(place)
    return list(found.values())


def split(grouped: Sequence[Sequence[int]], shares: Mapping[str, float], seed: int = 0) -> dict[str, list[int]]:
    """Assign whole groups to parts: for each part the places of its examples, in order. Which groups, is drawn with ``seed``.

    No part is empty, and the sizes are as near to the shares as whole groups allow: the sum over the parts of how many examples
    they have too many or too few is the least there is. That holds for two parts always, and for more as long as they
    can be filled together (5 million combinations of sizes); beyond that, parts are filled one by one, the smallest first, each as near to
    its share as what is left allows. StepError when there are fewer groups than parts.
    """
    if len(grouped) < len(shares):
        what = "group of examples" if len(grouped) == 1 else "groups of examples"
        raise StepError(
            f"{len(grouped)} {what} that must stay together cannot fill {len(shares)} parts",
            where="parts",
            remedy="add documents, ask for fewer parts, or set `group_by: none` (test questions then come from training documents)",
        )
    order = list(range(len(grouped)))
    random.Random(seed).shuffle(order)
    sizes = [len(grouped[number]) for number in order]
    names = sorted(shares, key=lambda name: (shares[name], name))
    part_of = _nearest(sizes, [shares[name] * sum(sizes) for name in names])
    parts: dict[str, list[int]] = {name: [] for name in shares}
    for number, part in zip(order, part_of, strict=True):
        parts[names[part]] += grouped[number]
    return {name: sorted(places) for name, places in parts.items()}


def _nearest(sizes: Sequence[int], wanted: Sequence[float]) -> list[int]:
    """For each group the number of its part; ``wanted`` are sizes of parts, ascending."""
    goal = _rounded(wanted)
    one_by_one = _one_by_one(sizes, wanted, goal)
    off = _off(one_by_one, sizes, wanted)
    if len(wanted) == 2 or off <= sum(abs(size - want) for size, want in zip(goal, wanted, strict=True)) + 1e-6:
        return one_by_one
    # What is nearer has no part farther above its share than half of this sum: as much is missing elsewhere.
    caps = [floor(want + off / 2 + 1e-6) for want in wanted[:-1]]
    return _together(sizes, wanted, goal, caps) or one_by_one


def _rounded(wanted: Sequence[float]) -> list[int]:
    """Whole numbers with the same sum, as near as can be (largest remainder)."""
    found = [floor(want + 1e-9) for want in wanted]
    by_remainder = sorted(range(len(wanted)), key=lambda part: (found[part] - wanted[part], part))
    for part in by_remainder[: round(sum(wanted)) - sum(found)]:
        found[part] += 1
    return found


def _off(part_of: Sequence[int], sizes: Sequence[int], wanted: Sequence[float]) -> float:
    found = [0] * len(wanted)
    for size, part in zip(sizes, part_of, strict=True):
        found[part] += size
    return sum(abs(size - want) for size, want in zip(found, wanted, strict=True))


def _one_by_one(sizes: Sequence[int], wanted: Sequence[float], goal: Sequence[int]) -> list[int]:
    part_of = [len(wanted) - 1] * len(sizes)
    left = list(range(len(sizes)))
    for part in range(len(wanted) - 1):
        keep = len(wanted) - part - 1
        here = [sizes[group] for group in left]
        total, want = sum(here), float(goal[part] if len(wanted) > 2 else wanted[part])
        cap = min(total - 1, max(floor(2 * want) + 1, min(here)))
        found = _together(here, [want, total - want], [goal[part], total - goal[part]], [cap])
        chosen = [place for place, there in enumerate(found or []) if there == 0]
        if len(here) - len(chosen) < keep:  # leave the smallest groups to the parts that follow
            spare = sorted(range(len(here)), key=lambda place: (place in chosen, here[place], place))[:keep]
            chosen = [place for place in chosen if place not in spare]
        chosen = chosen or [min(range(len(here)), key=lambda place: (abs(here[place] - want), place))]
        for place in chosen:
            part_of[left[place]] = part
        taken = set(chosen)
        left = [group for place, group in enumerate(left) if place not in taken]
    return part_of


def _together(sizes: Sequence[int], wanted: Sequence[float], goal: Sequence[int], caps: Sequence[int]) -> list[int] | None:
    """All parts but the last filled together, each to at most its cap; None where there is no way, or there are too many.

    ``step`` tells for each combination of sizes that can be reached by which group, put into which part, it was first reached: the
    combination before it was reached by earlier groups, so that the way back uses no group twice.
    """
    import numpy as np

    parts, total = len(caps), sum(sizes)
    states = int(np.prod([cap + 1 for cap in caps], dtype=float))
    if parts > 1 and (states > _STATES or states * len(sizes) * parts > _WORK):
        return None
    step = np.full([cap + 1 for cap in caps], -1, np.int64)
    reached = np.zeros(step.shape, bool)
    reached[(0,) * parts] = True
    aim = tuple(goal[:-1])
    reachable = min(aim) > 0 and goal[-1] > 0 and all(size <= cap for size, cap in zip(aim, caps, strict=True))
    for group, size in enumerate(sizes):
        fresh = []
        for part in range(parts):
            if size <= caps[part]:
                before = tuple(slice(None, -size) if axis == part else slice(None) for axis in range(parts))
                after = tuple(slice(size, None) if axis == part else slice(None) for axis in range(parts))
                fresh.append((part, after, reached[before] & ~reached[after]))
        for part, after, new in fresh:
            step[after][new] = group * parts + part  # two parts may reach it at once: either way is one
            reached[after] |= new
        if reachable and reached[aim]:
            break
    axes: Any = np.ogrid[tuple(slice(0, cap + 1) for cap in caps)]
    rest: Any = total - sum(axes)
    off = sum(abs(axis - want) for axis, want in zip(axes, wanted, strict=False)) + abs(rest - wanted[-1])
    allowed = reached & (rest > 0)
    for axis in axes:
        allowed &= axis > 0
    if not allowed.any():
        return None
    place = list(np.unravel_index(int(np.where(allowed, off, np.inf).argmin()), step.shape))
    part_of = [parts] * len(sizes)
    while any(place):
        group, part = divmod(int(step[tuple(place)]), parts)
        part_of[group] = part
        place[part] -= sizes[group]
    return part_of

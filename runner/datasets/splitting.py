"""A set of examples split into parts so that no document stands in two of them."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

from runner.errors import StepError

Example = dict[str, Any]
GroupBy = Literal["document", "none"]

#: Up to this many bits the reachable sizes are computed exactly; above, groups are so many and small that filling up is as good.
_EXACT_BITS = 400_000_000


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
    """Assign whole groups to parts: for each part the places of its examples, in order.

    Parts are filled one by one, the smallest first, each as near to its share of all examples as whole groups allow (for two
    parts that is the nearest split there is), with at least one group in each. Which groups, is drawn with ``seed``.
    StepError when there are fewer groups than parts.
    """
    if len(grouped) < len(shares):
        what = "group of examples" if len(grouped) == 1 else "groups of examples"
        raise StepError(
            f"{len(grouped)} {what} that share no document cannot fill {len(shares)} parts",
            where="parts",
            remedy="add documents, ask for fewer parts, or set `group_by: none` (test questions then come from training documents)",
        )
    left = list(range(len(grouped)))
    random.Random(seed).shuffle(left)
    total = sum(map(len, grouped))
    parts: dict[str, list[int]] = {}
    ordered = sorted(shares, key=lambda name: (shares[name], name))
    for done, name in enumerate(ordered[:-1]):
        chosen = _choose([len(grouped[group]) for group in left], shares[name] * total, keep=len(ordered) - done - 1)
        parts[name] = [place for number in chosen for place in grouped[left[number]]]
        taken = set(chosen)
        left = [group for number, group in enumerate(left) if number not in taken]
    parts[ordered[-1]] = [place for group in left for place in grouped[group]]
    return {name: sorted(parts[name]) for name in shares}


def _choose(sizes: Sequence[int], wanted: float, keep: int) -> list[int]:
    """Places of groups whose sizes add up to nearly ``wanted``: at least one, and all but at least ``keep``."""
    chosen = _exactly(sizes, wanted) if len(sizes) * sum(sizes) <= _EXACT_BITS else _filled(sizes, wanted)
    if chosen and len(sizes) - len(chosen) >= keep:
        return chosen
    if chosen:  # leave the smallest groups to the parts that follow
        spare = sorted(range(len(sizes)), key=lambda place: (place in chosen, sizes[place]))[:keep]
        chosen = [place for place in chosen if place not in spare]
    return chosen or [min(range(len(sizes)), key=lambda place: abs(sizes[place] - wanted))]


def _exactly(sizes: Sequence[int], wanted: float) -> list[int]:
    """The subset whose sum is nearest to ``wanted`` and not zero. Bit ``n`` of a number says that the sum ``n`` can be reached."""
    reachable = [1]
    for size in sizes:
        reachable.append(reachable[-1] | reachable[-1] << size)
    total = sum(sizes)
    goal = round(wanted)
    for distance in range(total + 1):
        hits = [sum_ for sum_ in (goal - distance, goal + distance) if 0 < sum_ <= total and reachable[-1] >> sum_ & 1]
        if hits:
            rest = min(hits, key=lambda sum_: abs(sum_ - wanted))
            break
    chosen = []
    for place in range(len(sizes) - 1, -1, -1):
        if rest >= sizes[place] and reachable[place] >> (rest - sizes[place]) & 1:
            chosen.append(place)
            rest -= sizes[place]
    return sorted(chosen)


def _filled(sizes: Sequence[int], wanted: float) -> list[int]:
    chosen, rest = [], wanted
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        if sizes[place] <= rest + 0.5:
            chosen.append(place)
            rest -= sizes[place]
    return sorted(chosen)

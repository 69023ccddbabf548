"""A draw of some from many, in one pass."""

from __future__ import annotations

import random
from collections.abc import Iterable
from operator import itemgetter
from typing import TypeVar

T = TypeVar("T")


def draw(items: Iterable[T], count: int, seed: int = 0) -> list[T]:
    """``count`` items drawn at random, in their order; all of them where there are no more. Holds no more than it gives.

    Reservoir sampling, algorithm R: Vitter, "Random Sampling with a Reservoir", ACM TOMS 11 (1985).
    """
    chance, held = random.Random(seed), list[tuple[int, T]]()
    for place, item in enumerate(items):
        if place < count:
            held.append((place, item))
        elif (slot := chance.randrange(place + 1)) < count:
            held[slot] = (place, item)
    return [item for _, item in sorted(held, key=itemgetter(0))]

"""What to ask of which text: how many pairs, of which types, in which order. A function of the seed and the texts' ids alone.

Types are exact over all texts. Each text first draws its own types by weight, which hangs on its id and the seed alone; then as many of
these as needed are exchanged, those of the lowest hash first, until the sums are right. So another document changes the sums by its own
share, and with them the types of a few other texts; drawing for each text alone would change none, and miss the proportions.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """``count`` pairs from a text at a time, of types by weight. 0 is no limit for ``at_most`` (texts), ``per_document`` (pairs).

    ``total`` is the number of pairs wanted in all, 0: ``count`` from each text. ``samples`` is how often a text may be asked while
    pairs are missing.
    """

    count: int
    types: Mapping[str, float]
    seed: int = 0
    at_most: int = 0
    per_document: int = 0
    total: int = 0
    samples: int = 1

    def choose(self, ids: Iterable[str]) -> set[str]:
        """The texts that are taken. One more text takes the place of at most one other."""
        ranked = sorted(ids, key=self._hash)
        return set(ranked[: self.at_most] if self.at_most else ranked)

    def wanted(self, documents: Mapping[str, str]) -> int:
        """How many pairs are wanted of these texts (id -> document)."""
        if self.total:
            return self.total
        texts = Counter(documents.values())
        return sum(min(self.count * number, self.per_document or self.count * number) for number in texts.values())

    def order(self, documents: Mapping[str, str]) -> list[str]:
        """In which order texts (id -> document) are asked: one of each document, then another of each, both in a drawn order."""
        seen: Counter[str] = Counter()
        ranks: dict[str, tuple[int, str]] = {}
        for id in sorted(documents, key=self._hash):
            ranks[id] = (seen[documents[id]], self._hash(id))
            seen[documents[id]] += 1
        return sorted(ranks, key=lambda id: ranks[id])

    def assign(self, slots: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, tuple[str, ...]]:
        """Types for each text: ``slots[id]`` of them, in sum exactly as :func:`apportion` divides them by ``weights``."""
        drawn = {id: self._draw(id, number, weights) for id, number in slots.items()}
        wanted = apportion(sum(slots.values()), weights)
        have = Counter(type for types in drawn.values() for type in types)
        missing = Counter({type: number - have[type] for type, number in wanted.items() if number > have[type]})
        places: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
        for id, types in drawn.items():
            for place, type in enumerate(types):
                if have[type] > wanted.get(type, 0):
                    places[type].append((self._hash(f"{id}\n{place}"), id, place))
        for type in sorted(places):
            for _, id, place in sorted(places[type])[: have[type] - wanted.get(type, 0)]:
                # a type that the text does not have yet, of these the one that is missed most
                other = min((name for name in missing if missing[name]), key=lambda name: (name in drawn[id], -missing[name], name))
                missing[other] -= 1
                drawn[id][place] = other
        return {id: tuple(types) for id, types in drawn.items()}

    def _draw(self, id: str, number: int, weights: Mapping[str, float]) -> list[str]:
        names = sorted(name for name, weight in weights.items() if weight > 0)
        whole = sum(weights[name] for name in names)
        shares = {name: number * weights[name] / whole for name in names}
        chosen = [name for name in names for _ in range(int(shares[name]))]
        chance = random.Random(self._hash(id))
        rest = {name: share % 1 for name, share in shares.items()}
        while len(chosen) < number:
            left = [name for name in names if rest[name] > 1e-9] or names
            pick = chance.choices(left, [max(rest[name], 1e-9) for name in left])[0]
            rest[pick] = 0
            chosen.append(pick)
        chance.shuffle(chosen)
        return chosen

    def _hash(self, id: str) -> str:
        return hashlib.sha256(f"{self.seed}\n{id}".encode(errors="surrogatepass")).hexdigest()


def apportion(number: int, weights: Mapping[str, float]) -> dict[str, int]:
    """``number`` divided by ``weights`` by the method of the largest remainder; equal remainders go by name."""
    whole = math.fsum(weight for weight in weights.values() if weight > 0)
    shares = {name: number * weight / whole for name, weight in weights.items() if weight > 0}
    parts = {name: int(share + 1e-9) for name, share in shares.items()}
    for name in sorted(shares, key=lambda name: (parts[name] - shares[name], name))[: number - sum(parts.values())]:
        parts[name] += 1
    return parts


class Turns:
    """Whose turn it is: every text once, then again those that may have more, up to ``plan.samples`` times.

    :meth:`took` and :meth:`spend` keep it told of pairs that were taken and of texts that have nothing more to give.
    """

    def __init__(self, plan: Plan, documents: Mapping[str, str]) -> None:
        self._plan, self._documents, self._order = plan, documents, plan.order(documents)
        self._taken: Counter[str] = Counter()
        self._spent: set[str] = set()
        self._round, self._left = 0, deque(self._order)

    @property
    def most(self) -> int:
        """How many pairs could be asked for at the very most."""
        return self._plan.count * self._plan.samples * len(self._documents)

    def took(self, id: str) -> None:
        """A pair about this text was taken."""
        self._taken[self._documents[id]] += 1

    def spend(self, id: str) -> None:
        """The text has no more to give."""
        self._spent.add(id)

    def batch(self, missing: int) -> tuple[int, dict[str, int]]:
        """How often the next texts were asked before, and how many pairs to ask of each: ``missing`` in sum, or what is left.

        All of one round, for a text is asked again only when its last answer is known. Nothing when no text may be asked any more.
        """
        while True:
            planned = self._plan_round(missing)
            if planned or self._round + 1 >= self._plan.samples:
                return self._round, planned
            self._round, self._left = self._round + 1, deque(self._order)

    def _plan_round(self, missing: int) -> dict[str, int]:
        planned: dict[str, int] = {}
        reserved: Counter[str] = Counter()
        later: list[str] = []  # their document is full if all goes well
        while missing > 0 and self._left:
            id = self._left.popleft()
            if id in self._spent:
                continue
            document, number = self._documents[id], min(self._plan.count, missing)
            if self._plan.per_document:
                room = self._plan.per_document - self._taken[document]
                number = min(number, room - reserved[document])
                if number <= 0:
                    later += [id] if room > 0 else []
                    continue
            planned[id] = number
            reserved[document] += number
            missing -= number
        self._left.extendleft(reversed(later))
        return planned

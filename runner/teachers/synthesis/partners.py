"""Which chunks belong beside a chunk, so that a question can need both.

Either the caller searches an index, or the words tell: two chunks that share names and terms which few others have speak of one thing.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from runner.teachers.synthesis.texts import Texts, Unit

#: A name, an identifier or a longer word, of any script.
_TERM = re.compile(r"[^\W\d_][\w-]{3,}")
#: A term that more chunks have than these is not rare.
_RARE = 12
#: Chunks that share less (a sum of 1/number of chunks that have the term) have met by chance.
_LEAST = 0.5

#: The ids of chunks near to a chunk, best first, at most as many as asked for; the chunk itself may be among them.
Near = Callable[[Unit, int], Iterable[str]]


class RareTerms:
    """Chunks by the rare terms that they share; the more terms and the rarer, the nearer. A function of the texts alone."""

    def __init__(self, texts: Iterable[Unit]) -> None:
        self._chunks: dict[str, list[str]] = defaultdict(list)
        counts: Counter[str] = Counter()
        for unit in texts:
            for term in _terms(unit.text):
                counts[term] += 1
                if counts[term] <= _RARE:
                    self._chunks[term].append(unit.id)
                else:
                    self._chunks.pop(term, None)
        self._chunks = {term: ids for term, ids in self._chunks.items() if len(ids) > 1 and counts[term] <= _RARE}

    def __call__(self, unit: Unit, k: int) -> list[str]:
        near: dict[str, float] = defaultdict(float)
        for term in sorted(_terms(unit.text)):  # one order of adding up, one sum
            for id in self._chunks.get(term, ()):
                near[id] += 1 / len(self._chunks[term])
        return sorted((id for id in near if near[id] >= _LEAST), key=lambda id: (-near[id], id))[:k]


def partners(unit: Unit, near: Near, texts: Texts, number: int) -> list[Unit]:
    """At most ``number`` chunks to be shown with ``unit``: the nearest that share no character with it or with each other."""
    found: list[Unit] = []
    for other in texts.get([id for id in near(unit, 4 * number + 4) if id != unit.id]):
        if len(found) < number and not any(other.overlaps(one) or other.text == one.text for one in (unit, *found)):
            found.append(other)
    return found


def _terms(text: str) -> set[str]:
    return {word.casefold() for word in _TERM.findall(text)}


__all__ = ["Near", "RareTerms", "partners"]

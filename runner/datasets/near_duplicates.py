"""Nearly equal texts among many: candidates by MinHash and locality-sensitive hashing, each verified exactly.

Two texts are nearly equal when the Jaccard similarity of their sets of 5-grams is at least a threshold. Grams are of
UTF-8 bytes of the folded text: characters in ASCII, while a Chinese character, which says more than a letter, counts for three.

MinHash (Broder, 1997) gives two texts the same value of one hash function with a probability equal to their similarity ``s``;
``bands`` of ``rows`` such values (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4) make them candidates with
the probability ``1 - (1 - s ** rows) ** bands``. Both numbers are chosen so that a pair at the very threshold is missed
once in a thousand times, and one well above it practically never. Candidates are then compared by their true sets: nothing is found that
is not so. The hash functions are fixed: the same texts give the same answer on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any

from runner.datasets.folding import fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The probability with which a pair exactly at the threshold is missed is at most this.
MISSED = 0.001

_GRAM = 5  # bytes; a gram is then a number of 40 bits, and equal numbers are equal grams
_HASHES = 640  # the most hash functions; more cost time, fewer let more pairs through that are not similar
_WORDS = 64  # 64-bit words of a sketch: bit h(gram) for every gram, so that texts of up to some 1,500 grams leave most bits free
_BLOCK = 1 << 18  # bytes of text hashed at a time: what the processor's cache holds
_BATCH = 4096  # candidates filtered at a time
_HELD = 1_000_000  # grams of verified texts that are kept for the next comparison
_MIX = 0x9E3779B97F4A7C15  # Fibonacci hashing

Progress = Callable[[int, int], None]


class NearDuplicates:
    """A search among ``texts``, which are named by their places from 0.

    ``near`` is the least Jaccard similarity (0.1 to 1). ``progress`` is called with the texts hashed so far and their number.
    ``within`` tells for each text the context that it is about, or "": only texts of equal contexts (folded) are compared.
    About 1.7 KB of memory a text besides the folded text itself.
    """

    def __init__(
        self, texts: Iterable[str], near: float = 0.8, progress: Progress | None = None, *, within: Iterable[str] | None = None
    ) -> None:
        if not 0.1 <= near <= 1:
            raise ValueError(f"near is {near}, and not from 0.1 to 1")
        self.near = near
        self.rows, self.bands = banding(near)
        number_of: dict[tuple[bytes, int], int] = {}  # equal texts are one
        contexts: dict[str, int] = {"": 0}
        context_of = repeat(0) if within is None else (contexts.setdefault(fold(context), len(contexts)) for context in within)
        folded = (fold(text).encode("utf-8", "surrogatepass").ljust(_GRAM, b"\0") for text in texts)
        # not strict: without contexts there is no end of zeros
        self._number = [number_of.setdefault(key, len(number_of)) for key in zip(folded, context_of, strict=False)]
        self._texts, self._contexts = [text for text, _ in number_of], [context for _, context in number_of]
        self._grams = lru_cache(maxsize=1 + _HELD * len(self._texts) // (1 + sum(map(len, self._texts))))(self._grams_of)
        self._hash(progress or (lambda done, total: None))

    def repeats(self, places: Iterable[int] | None = None) -> dict[int, int]:
        """For each text that is nearly equal to an earlier one which is not itself in the answer: the place of such a one.

        So the texts that are not in the answer are no near-duplicates of each other, and each that is, is one of a text that
        stays. ``places`` limits the search to these, in their order.
        """
        found: dict[int, int] = {}
        index = _Index(self)
        for place in range(len(self._number)) if places is None else places:
            twin = index.find(place)
            if twin is None:
                index.add(place)
            else:
                found[place] = twin
        return found

    def twins(self, places: Iterable[int], among: Iterable[int]) -> dict[int, int]:
        """For each of ``places`` that has a nearly equal text ``among`` these places: the place of such a one."""
        index = _Index(self)
        for place in among:
            index.add(place)
        return {place: twin for place in places if (twin := index.find(place)) is not None}

    def similarity(self, one: int, other: int) -> float:
        """The Jaccard similarity of two texts, 0 to 1."""
        return self._jaccard(self._number[one], self._number[other])

    def _jaccard(self, one: int, other: int) -> float:
        first, second = self._grams(one), self._grams(other)
        shared = len(first & second)
        return shared / (len(first) + len(second) - shared)

    def _grams_of(self, number: int) -> frozenset[bytes]:
        text = self._texts[number]
        return frozenset(text[start : start + _GRAM] for start in range(len(text) - _GRAM + 1))

    def _hash(self, progress: Progress) -> None:
        """Sketches, and for each band the bucket of each text; -1 where no other text is in it."""
        import numpy as np

        count, mix = len(self._texts), np.uint64(_MIX)
        drawn = np.random.Generator(np.random.PCG64(0)).integers(0, 1 << 32, (2, self.rows * self.bands), dtype=np.uint32)
        factors, masks = drawn[0] | 1, drawn[1]
        keys = np.tile(np.array(self._contexts, np.uint64) * mix, (self.bands, 1))
        self.sketches, self.sizes = np.zeros((count, _WORDS), np.uint64), np.zeros(count, np.int32)
        done = 0
        for block in _blocks(self._texts):
            grams, starts = _windows(block)
            mixed = grams * mix
            hashes = (mixed >> np.uint64(32)).astype(np.uint32)
            permuted, lowest = np.empty_like(hashes), np.empty(len(block), np.uint32)
            here = slice(done, done + len(block))
            for number in range(self.rows * self.bands):
                np.bitwise_xor(np.multiply(hashes, factors[number], out=permuted), masks[number], out=permuted)
                np.minimum.reduceat(permuted, starts, out=lowest)
                key = keys[number // self.rows, here]
                key ^= lowest
                key *= mix
                key ^= key >> np.uint64(29)
            self._sketch(grams, mixed, starts, done)
            done += len(block)
            progress(done, count)
        self.buckets = np.full((self.bands, count), -1, np.int32)
        filled = 0
        starts_of: list[NDArray[Any]] = []
        for band in range(self.bands):
            _, inverse, sizes = np.unique(keys[band], return_inverse=True, return_counts=True)
            shared = sizes > 1
            numbers = np.where(shared, np.cumsum(shared) - 1 + sum(map(len, starts_of)), -1)
            self.buckets[band] = numbers[inverse]
            starts_of.append(filled + np.cumsum(sizes[shared]) - sizes[shared])
            filled += int(sizes[shared].sum())
        self.bucket_starts, self.slots = np.concatenate(starts_of or [np.zeros(0, np.int64)]), filled

    def _sketch(self, grams: NDArray[Any], mixed: NDArray[Any], starts: NDArray[Any], done: int) -> None:
        import numpy as np

        text = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(grams)))
        order = np.lexsort((grams, text))
        grams, mixed, text = grams[order], mixed[order], text[order]
        new = np.ones(len(grams), bool)
        new[1:] = (grams[1:] != grams[:-1]) | (text[1:] != text[:-1])
        self.sizes[done : done + len(starts)] = np.bincount(text[new], minlength=len(starts))
        bit = (mixed >> np.uint64(20)) & np.uint64(64 * _WORDS - 1)
        place = (text + done) * _WORDS + (bit >> np.uint64(6)).astype(np.int64)
        np.bitwise_or.at(self.sketches.reshape(-1), place, np.uint64(1) << (bit & np.uint64(63)))


def banding(near: float) -> tuple[int, int]:
    """Rows and bands for a threshold: the most rows, and so the fewest false candidates, that miss at most :data:`MISSED` at it."""
    if near == 1:
        return _HASHES, 1
    for rows in range(_HASHES, 1, -1):
        bands = math.ceil(math.log(MISSED) / math.log1p(-(near**rows))) if near**rows > 1e-6 else _HASHES
        if rows * bands <= _HASHES:
            return rows, bands
    return 1, math.ceil(math.log(MISSED) / math.log1p(-near))


class _Index:
    """The texts added so far, by their buckets."""

    def __init__(self, search: NearDuplicates) -> None:
        import numpy as np

        self._search = search
        self._slots = np.zeros(search.slots, np.int32)
        self._filled = np.zeros(len(search.bucket_starts), np.int32)
        self._place: dict[int, int] = {}  # of the first text added with this number

    def add(self, place: int) -> None:
        number = self._search._number[place]
        if number in self._place:
            return
        self._place[number] = place
        buckets = self._buckets(number)
        self._slots[self._search.bucket_starts[buckets] + self._filled[buckets]] = number
        self._filled[buckets] += 1

    def find(self, place: int) -> int | None:
        import numpy as np

        search, number = self._search, self._search._number[place]
        if number in self._place:
            return self._place[number]
        size, sketch = int(search.sizes[number]), search.sketches[number]
        for batch in self._batches(self._buckets(number)):
            # A bit that differs is a gram that only one of the two has: a bound on the similarity that excludes nothing similar.
            sizes = search.sizes[batch]
            apart = np.maximum(np.bitwise_count(search.sketches[batch] ^ sketch).sum(axis=1), np.abs(sizes - size))
            possible = sizes + size - apart >= (search.near - 1e-9) * (sizes + size + apart)
            alike = sorted(
                dict(zip(batch[possible].tolist(), apart[possible].tolist(), strict=True)).items(), key=lambda found: found[::-1]
            )
            for other, _ in alike:  # the most alike first
                if search._contexts[other] == search._contexts[number] and search._jaccard(number, other) >= search.near:
                    return self._place[other]
        return None

    def _buckets(self, number: int) -> NDArray[Any]:
        buckets = self._search.buckets[:, number]
        return buckets[buckets >= 0]

    def _batches(self, buckets: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """The texts in these buckets, some thousand at a time: with many equal ones a twin is found in the first."""
        import numpy as np

        waiting: list[NDArray[Any]] = []
        held = 0
        filled = self._filled[buckets]
        for start, count in zip(self._search.bucket_starts[buckets[filled > 0]].tolist(), filled[filled > 0].tolist(), strict=True):
            for piece in range(start, start + count, _BATCH):
                waiting.append(self._slots[piece : min(piece + _BATCH, start + count)])
                held += len(waiting[-1])
                if held >= _BATCH:
                    yield np.concatenate(waiting)
                    waiting, held = [], 0
        if waiting:
            yield np.concatenate(waiting)


def _blocks(texts: Sequence[bytes]) -> Iterator[list[bytes]]:
    block: list[bytes] = []
    size = 0
    for text in texts:
        if block and size + len(text) > _BLOCK:
            yield block
            block, size = [], 0
        block.append(text)
        size += len(text)
    if block:
        yield block


def _windows(texts: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[Any]]:
    """All grams of texts of at least 5 bytes as numbers, text after text, and where each text begins."""
    import numpy as np

    joined = np.frombuffer(b"".join(texts), np.uint8).astype(np.uint64)
    last = len(joined) - _GRAM + 1
    grams = np.zeros(last, np.uint64)
    for byte in range(_GRAM):
        grams |= joined[byte : last + byte] << np.uint64(8 * byte)
    lengths = np.array([len(text) for text in texts])
    ends = np.cumsum(lengths)
    inside = np.ones(len(joined), bool)  # a window that begins in the last 4 bytes of a text ends in the next
    for back in range(1, _GRAM):
        inside[ends - back] = False
    counts = lengths - _GRAM + 1
    return grams[inside[:last]], np.cumsum(counts) - counts

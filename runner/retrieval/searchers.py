"""Ways to rank the chunks of an index for a question: by one vector, by a vector for each token, and by several rankings together.

The ranking by words is in :mod:`runner.retrieval.bm25`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import faiss
import numpy as np

from runner.retrieval.embedders import TextEmbedder, TokenEmbedder, Vectors
from runner.retrieval.journal import Tokens

#: A chunk's row and its score, best first.
Ranking = list[tuple[int, float]]

#: Token vectors that each token of a question looks up, where the search is not exhaustive; their chunks are then scored in full.
LOOKED_UP = 128


class Searcher(Protocol):
    @property
    def count(self) -> int:
        """How many chunks it ranks."""
        ...

    @property
    def dimension(self) -> int: ...

    def search(self, texts: Sequence[str], k: int) -> list[Ranking]:
        """For each text its ``k`` best chunks; fewer where there are fewer."""
        ...

    def vectors(self, rows: Sequence[int]) -> Vectors:
        """A vector of length 1 for each of these chunks (rows, dimension), to compare chunks with one another."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What is to be said of the questions searched so far."""
        ...


class Nearest:
    """By the similarity of the question's vector with the chunk's. A score of exactly 0 is no hit: no word is shared."""

    def __init__(self, index: Any, embedder: TextEmbedder, *, cosine: bool) -> None:
        self._index, self._embedder, self._cosine = index, embedder, cosine
        _allow_lookup(index)

    @property
    def count(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        return int(self._index.d)

    def search(self, texts: Sequence[str], k: int) -> list[Ranking]:
        queries = normal(self._embedder.queries(list(texts)), self._cosine)
        scores, rows = self._index.search(queries, min(k, self.count))
        return [
            [(int(row), float(score)) for score, row in zip(*pair, strict=True) if row >= 0 and score != 0]
            for pair in zip(scores, rows, strict=True)
        ]

    def vectors(self, rows: Sequence[int]) -> Vectors:
        return normal(self._index.reconstruct_batch(np.asarray(rows, dtype=np.int64)), True)

    @property
    def warnings(self) -> Sequence[str]:
        return self._embedder.warnings


class MaxSim:
    """By late interaction: each token of the question takes its most similar token of the chunk, and these are summed.

    Exhaustive over a flat index. Over another one as ColBERT's end-to-end retrieval (Khattab and Zaharia, 2020, section 3.6): each
    token of the question looks up its nearest tokens, and the chunks that hold any of them are scored in full.
    """

    def __init__(self, index: Any, tokens: Sequence[int] | Tokens, embedder: TokenEmbedder, *, cosine: bool) -> None:
        """``tokens``: how many of the index's vectors belong to each chunk, in order."""
        self._index, self._embedder, self._cosine = index, embedder, cosine
        self._ends = np.cumsum(np.asarray(tokens, dtype=np.int64))
        self._starts = np.concatenate([[0], self._ends[:-1]])
        self._all = index.reconstruct_n(0, index.ntotal) if isinstance(index, faiss.IndexFlat) else None
        _allow_lookup(index)

    @property
    def count(self) -> int:
        return len(self._ends)

    @property
    def dimension(self) -> int:
        return int(self._index.d)

    def search(self, texts: Sequence[str], k: int) -> list[Ranking]:
        return [self._rank(normal(query, self._cosine), k) for query in self._embedder.query_tokens(list(texts))]

    def vectors(self, rows: Sequence[int]) -> Vectors:
        return normal(np.stack([self._index.reconstruct_n(int(self._starts[row]), self._length(row)).mean(axis=0) for row in rows]), True)

    @property
    def warnings(self) -> Sequence[str]:
        return self._embedder.warnings

    def _rank(self, query: Vectors, k: int) -> Ranking:
        if self._all is not None:
            rows, scores = np.arange(self.count), max_sim(query, self._all, self._starts)
        else:
            _, near = self._index.search(query, min(max(LOOKED_UP, k), self._index.ntotal))
            rows = np.unique(np.searchsorted(self._ends, near[near >= 0], side="right"))
            tokens = np.concatenate([np.arange(self._starts[row], self._ends[row]) for row in rows])
            lengths = self._ends[rows] - self._starts[rows]
            scores = max_sim(query, self._index.reconstruct_batch(tokens), np.concatenate([[0], np.cumsum(lengths)[:-1]]))
        best = np.lexsort((rows, -scores))[:k]
        return [(int(rows[place]), float(scores[place])) for place in best]

    def _length(self, row: int) -> int:
        return int(self._ends[row] - self._starts[row])


class Fused:
    """By reciprocal rank fusion of several rankings; see :class:`runner.retrieval.settings.Hybrid`."""

    def __init__(self, parts: Sequence[Searcher], *, rank_constant: int, depth: int) -> None:
        """Chunks are compared with one another by the first part's vectors."""
        self._parts, self._constant, self._depth = parts, rank_constant, depth

    @property
    def count(self) -> int:
        return self._parts[0].count

    @property
    def dimension(self) -> int:
        return self._parts[0].dimension

    def search(self, texts: Sequence[str], k: int) -> list[Ranking]:
        found = [part.search(texts, max(k, self._depth)) for part in self._parts]
        return [fuse(rankings, self._constant)[:k] for rankings in zip(*found, strict=True)]

    def vectors(self, rows: Sequence[int]) -> Vectors:
        return self._parts[0].vectors(rows)

    @property
    def warnings(self) -> Sequence[str]:
        return [warning for part in self._parts for warning in part.warnings]


def fuse(rankings: Sequence[Ranking], constant: int) -> Ranking:
    """Reciprocal rank fusion: the sum of 1 / (``constant`` + rank), ranks from 1; equal scores in the order of the chunks."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, (row, _) in enumerate(ranking, 1):
            scores[row] = scores.get(row, 0.0) + 1 / (constant + rank)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def max_sim(query: Vectors, tokens: Vectors, starts: Any) -> Vectors:
    """MaxSim of a question's token vectors (n, dimension) with each chunk, whose tokens begin at ``starts`` in ``tokens``."""
    return np.maximum.reduceat(tokens @ query.T, starts, axis=0).sum(axis=1)


def normal(vectors: Vectors, cosine: bool) -> Vectors:
    """The vectors as the index holds them: of length 1 under cosine."""
    vectors = np.array(vectors, dtype=np.float32, order="C")
    if cosine:
        faiss.normalize_L2(vectors)
    return vectors


def _allow_lookup(index: Any) -> None:
    """Inverted lists find a vector by its number only through a table that they are not saved with."""
    if isinstance(index, faiss.IndexIVF):
        index.make_direct_map()

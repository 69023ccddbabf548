"""FAISS structures: built the same way every time, and measured against exhaustive search."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from runner.errors import InputError
from runner.retrieval.settings import Flat, Hnsw, Ivf, Structure

Vectors = np.ndarray[Any, np.dtype[np.float32]]

#: FAISS warns below this number of training points a centroid.
ADVISED_POINTS = 39


def build(structure: Structure, vectors: Vectors) -> Any:
    """A FAISS index over ``vectors`` (n, dimension), searched by inner product.

    One thread builds it, with FAISS's own fixed seeds: HNSW's graph depends on the order of insertion, k-means on the
    order of its sums. Raises InputError when there are fewer vectors than IVF lists.
    """
    count, dimension = vectors.shape
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        index = _empty(structure, count, dimension)
        if not index.is_trained:
            index.train(vectors)
        index.add(vectors)
        return index
    finally:
        faiss.omp_set_num_threads(threads)


def recall(index: Any, vectors: Vectors, queries: Vectors, k: int = 10) -> float:
    """Share of the true ``k`` nearest of ``vectors`` (n, dimension) that ``index`` finds for ``queries`` (m, dimension).

    Measured the way ANN-Benchmarks does: a found vector counts when it is as near as the true k-th one, so that
    duplicates do not count as misses.
    """
    k = min(k, len(vectors))
    exact, _ = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    found, rows = index.search(queries, k)
    return near(np.where(rows >= 0, found, -np.inf), exact[:, -1:])


def near(found: Vectors, kth: Vectors) -> float:
    """Share of the scores ``found`` (m, k) that reach the true k-th best score (m, 1), but for rounding."""
    return float((found >= kth - 1e-5 * np.maximum(np.abs(kth), 1e-6)).mean())


def _empty(structure: Structure, count: int, dimension: int) -> Any:
    match structure:
        case Flat():
            return faiss.IndexFlatIP(dimension)
        case Hnsw(m=m, ef_construction=ef_construction, ef_search=ef_search):
            graph = faiss.IndexHNSWFlat(dimension, m, faiss.METRIC_INNER_PRODUCT)
            graph.hnsw.efConstruction, graph.hnsw.efSearch = ef_construction, ef_search
            return graph
        case Ivf(nlist=nlist, nprobe=nprobe):
            if count < nlist:
                raise InputError(
                    f"an IVF index of {nlist} lists needs at least {nlist} chunks, and there are {count}",
                    remedy=f"lower faiss.nlist (FAISS advises {max(1, count // ADVISED_POINTS)} for that many), or use kind: flat or hnsw",
                )
            lists = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, nlist, faiss.METRIC_INNER_PRODUCT)
            lists.cp.min_points_per_centroid = 1  # FAISS's own warning goes to the terminal; the caller gives it instead
            lists.nprobe = nprobe
            return lists

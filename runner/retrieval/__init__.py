"""Retrieval: chunks embedded by sentence-transformers, searched by FAISS. Importing this package imports nothing heavy."""

from runner.retrieval.index import Hit, Index, open_index
from runner.retrieval.settings import (
    Bm25,
    Embedder,
    Flat,
    Hnsw,
    Hybrid,
    Ivf,
    LateInteraction,
    Lexical,
    Metric,
    Okapi,
    SentenceTransformer,
    Structure,
)

__all__ = [
    "Bm25",
    "Embedder",
    "Flat",
    "Hit",
    "Hnsw",
    "Hybrid",
    "Index",
    "Ivf",
    "LateInteraction",
    "Lexical",
    "Metric",
    "Okapi",
    "SentenceTransformer",
    "Structure",
    "open_index",
]

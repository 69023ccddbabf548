"""Retrieval: chunks embedded by sentence-transformers, searched by FAISS. Importing this package imports nothing heavy."""

from runner.retrieval.index import Hit, Index, open_index
from runner.retrieval.settings import (
    Embedder,
    Flat,
    Hnsw,
    Hybrid,
    Ivf,
    LateInteraction,
    Lexical,
    Metric,
    SentenceTransformer,
    Structure,
    Vocabulary,
)

__all__ = [
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
    "SentenceTransformer",
    "Structure",
    "Vocabulary",
    "open_index",
]

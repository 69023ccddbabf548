"""Retrieval: chunks embedded by sentence-transformers, searched by FAISS. Importing this package imports nothing heavy."""

from runner.retrieval.index import Hit, Index, open_index
from runner.retrieval.settings import Embedder, Flat, Hnsw, Ivf, Lexical, Metric, SentenceTransformer, Structure

__all__ = [
    "Embedder",
    "Flat",
    "Hit",
    "Hnsw",
    "Index",
    "Ivf",
    "Lexical",
    "Metric",
    "SentenceTransformer",
    "Structure",
    "open_index",
]

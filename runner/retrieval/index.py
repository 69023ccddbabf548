"""An index as it lies on disk, opened for searching."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import ArtifactDamaged

DESCRIPTION, VECTORS, CHUNKS, EMBEDDER = "index.json", "index.faiss", "chunks.jsonl", "embedder"


@dataclass(frozen=True)
class Hit:
    """A chunk that answers a search: its row of ``chunks.jsonl``, and the similarity (cosine: -1 to 1)."""

    chunk: dict[str, Any]
    score: float


class Index:
    """Search by meaning, or by words, over the chunks of one index artifact."""

    def __init__(self, description: Mapping[str, Any], vectors: Any, chunks: Sequence[dict[str, Any]], embedder: Any) -> None:
        self.description, self._vectors, self._chunks, self._embedder = description, vectors, chunks, embedder

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return len(self._chunks)

    @property
    def dimension(self) -> int:
        return int(self.description["dimension"])

    def search(self, texts: Sequence[str], k: int) -> list[list[Hit]]:
        """For each text its ``k`` best chunks, best first; fewer where there are fewer.

        The embedder's query prompt is put before each text. A score of exactly 0 is no hit: with a lexical embedder
        nothing is shared, and a text without any known word finds nothing.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if not texts:
            return []
        import numpy as np

        queries = np.ascontiguousarray(self._embedder.queries(list(texts)), dtype=np.float32)
        if self.description["metric"] == "cosine":
            import faiss

            faiss.normalize_L2(queries)
        scores, rows = self._vectors.search(queries, min(k, self.count))
        return [
            [Hit(self._chunks[row], float(score)) for score, row in zip(*pair, strict=True) if row >= 0 and score != 0]
            for pair in zip(scores, rows, strict=True)
        ]


def open_index(folder: Path, *, device: str = "auto") -> Index:
    """Open the index in ``folder`` (see ``docs/artifacts.md``).

    ``device`` is where questions are embedded: auto, cpu or cuda. Raises ArtifactDamaged, naming the file, when the
    parts are missing, unreadable, or do not belong together.
    """
    from runner.retrieval.embedders import reopen

    description = _description(folder)
    chunks = _chunks(folder)
    vectors = _vectors(folder)
    if not description["count"] == vectors.ntotal == len(chunks):
        raise ArtifactDamaged(
            f"the counts differ: {DESCRIPTION} says {description['count']} chunks, {VECTORS} holds {vectors.ntotal} vectors, "
            f"{CHUNKS} holds {len(chunks)} rows",
            where=str(folder),
            remedy="build the index again",
        )
    embedder = reopen(description["embedder"], folder / EMBEDDER, device)
    if not description["dimension"] == vectors.d == embedder.dimension:
        raise ArtifactDamaged(
            f"the dimensions differ: {DESCRIPTION} says {description['dimension']}, {VECTORS} holds {vectors.d}, "
            f"the embedder gives {embedder.dimension}",
            where=str(folder),
            remedy="build the index again",
        )
    return Index(description, vectors, chunks, embedder)


def _description(folder: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        missing = {"embedder", "faiss", "metric", "count", "dimension"} - description.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise ArtifactDamaged(f"no index can be read here: {error}", where=str(folder / DESCRIPTION)) from None
    if missing:
        raise ArtifactDamaged(f"the description lacks {', '.join(sorted(missing))}", where=str(folder / DESCRIPTION))
    return description


def _chunks(folder: Path) -> list[dict[str, Any]]:
    path = folder / CHUNKS
    try:
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise ArtifactDamaged(f"the chunks cannot be read: {error}", where=str(path), remedy="build the index again") from None


def _vectors(folder: Path) -> Any:
    import faiss

    path = folder / VECTORS
    try:
        return faiss.read_index(str(path))
    except RuntimeError:  # FAISS's text is a C++ source line
        found = "the vectors cannot be read: the file is truncated or not a FAISS index" if path.exists() else "the file is missing"
        raise ArtifactDamaged(found, where=str(path), remedy="build the index again") from None

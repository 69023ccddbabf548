"""An index as it lies on disk, opened for searching."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import ArtifactDamaged

if TYPE_CHECKING:
    from runner.retrieval.searchers import Searcher
    from runner.retrieval.settings import Lexical, Model

DESCRIPTION, VECTORS, CHUNKS, EMBEDDER = "index.json", "index.faiss", "chunks.jsonl", "embedder"
TOKENS, BY_WORDS = "tokens.npy", "bm25"
_AGAIN = "build the index again"


@dataclass(frozen=True)
class Hit:
    """A chunk that answers a search: its row of ``chunks.jsonl``, and its score.

    The score is the similarity (cosine: -1 to 1); of late interaction the sum of those of the question's tokens, of BM25 that of the
    question's words, of a hybrid index that of the fused ranks.
    """

    chunk: dict[str, Any]
    score: float
    row: int = -1  # of the chunk in ``chunks.jsonl``


class Index:
    """Search by meaning, by words, or by both, over the chunks of one index artifact."""

    def __init__(self, description: Mapping[str, Any], chunks: Sequence[dict[str, Any]], searcher: Searcher) -> None:
        self.description, self.chunks, self._searcher = description, chunks, searcher

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return len(self.chunks)

    @property
    def dimension(self) -> int:
        return int(self.description["dimension"])

    @property
    def is_cosine(self) -> bool:
        """Whether scores are cosines: neither sums over tokens or words, nor fused ranks, nor inner products."""
        settings = self.description["embedder"]
        summed = settings["kind"] in ("hybrid", "bm25") or settings.get("scoring") == "max-sim"
        return self.description["metric"] == "cosine" and not summed

    def search(self, texts: Sequence[str], k: int) -> list[list[Hit]]:
        """For each text its ``k`` best chunks, best first; fewer where there are fewer.

        The embedder's query prompt is put before each text. Where texts have one vector each, and with BM25, a score of exactly 0 is
        no hit: no word is shared, and a text without any known word finds nothing.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if not texts:
            return []
        return [[Hit(self.chunks[row], score, row) for row, score in ranking] for ranking in self._searcher.search(texts, k)]

    def vectors(self, hits: Sequence[Hit]) -> Any:
        """A vector of length 1 for each hit (hits, dimension), float32, to compare chunks with one another."""
        return self._searcher.vectors([hit.row for hit in hits])

    @property
    def warnings(self) -> Sequence[str]:
        """What is to be said of the searches so far: questions that the embedder cut."""
        return self._searcher.warnings


def open_index(folder: Path, *, device: str = "auto") -> Index:
    """Open the index in ``folder`` (see ``docs/artifacts.md``).

    ``device`` is where questions are embedded: auto, cpu or cuda. Raises ArtifactDamaged, naming the file, when the
    parts are missing, unreadable, or do not belong together.
    """
    import msgspec

    from runner.retrieval.searchers import Fused
    from runner.retrieval.settings import Bm25, Embedder, Hybrid

    description = _description(folder)
    chunks = _chunks(folder)
    try:
        settings: Embedder = msgspec.convert(description["embedder"], type=Embedder)
    except msgspec.ValidationError as error:
        raise ArtifactDamaged(f"the embedder is none that is known: {error}", where=str(folder / DESCRIPTION)) from None
    cosine = description["metric"] == "cosine"
    if isinstance(settings, Hybrid):
        dense = _part(folder, settings.dense, description, len(chunks), device, cosine)
        words = _words(folder / BY_WORDS, description["count"], len(chunks))
        fused = Fused([dense, words], rank_constant=settings.rank_constant, depth=settings.depth)
        return Index(description, chunks, fused)
    if isinstance(settings, Bm25):
        return Index(description, chunks, _words(folder / BY_WORDS, description["count"], len(chunks)))
    return Index(description, chunks, _part(folder, settings, description, len(chunks), device, cosine))


def _part(folder: Path, settings: Model | Lexical, description: Mapping[str, Any], rows: int, device: str, cosine: bool) -> Searcher:
    """The ranking by vectors, its counts checked."""
    from runner.retrieval.embedders import TokenEmbedder, reopen
    from runner.retrieval.searchers import MaxSim, Nearest
    from runner.retrieval.settings import by_token

    vectors = _vectors(folder)
    tokens = _tokens(folder, vectors.ntotal) if by_token(settings) else None
    held = vectors.ntotal if tokens is None else len(tokens)
    if not description["count"] == held == rows:
        raise ArtifactDamaged(
            f"the counts differ: {DESCRIPTION} says {description['count']} chunks, "
            f"{VECTORS if tokens is None else TOKENS} holds {held} {'vectors' if tokens is None else 'chunks'}, {CHUNKS} holds {rows} rows",
            where=str(folder),
            remedy=_AGAIN,
        )
    embedder = reopen(settings, folder / EMBEDDER, device)
    said = description["dimension"]
    if not said == vectors.d == embedder.dimension:
        raise ArtifactDamaged(
            f"the dimensions differ: {DESCRIPTION} says {said}, {VECTORS} holds {vectors.d}, the embedder gives {embedder.dimension}",
            where=str(folder),
            remedy=_AGAIN,
        )
    if tokens is None:
        return Nearest(vectors, embedder, cosine=cosine)
    assert isinstance(embedder, TokenEmbedder)
    return MaxSim(vectors, tokens, embedder, cosine=cosine)


def _words(folder: Path, count: int, rows: int) -> Searcher:
    """The ranking by words, its counts checked."""
    from runner.retrieval.bm25 import open_words

    words = open_words(folder, _AGAIN)
    if not count == words.count == rows:
        raise ArtifactDamaged(
            f"the counts differ: {DESCRIPTION} says {count} chunks, {BY_WORDS} weighs {words.count}, {CHUNKS} holds {rows} rows",
            where=str(folder.parent),
            remedy=_AGAIN,
        )
    return words


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
        raise ArtifactDamaged(f"the chunks cannot be read: {error}", where=str(path), remedy=_AGAIN) from None


def _tokens(folder: Path, vectors: int) -> Any:
    """How many vectors each chunk has; they must add up to those that there are."""
    import numpy as np

    path = folder / TOKENS
    try:
        tokens = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactDamaged(f"the counts of tokens cannot be read: {error}", where=str(path), remedy=_AGAIN) from None
    if tokens.ndim != 1 or tokens.min(initial=1) < 1 or int(tokens.sum()) != vectors:
        raise ArtifactDamaged(
            f"the counts differ: {TOKENS} adds up to {int(tokens.sum())} vectors, {VECTORS} holds {vectors}",
            where=str(folder),
            remedy=_AGAIN,
        )
    return tokens


def _vectors(folder: Path) -> Any:
    import faiss

    path = folder / VECTORS
    try:
        return faiss.read_index(str(path))
    except RuntimeError:  # FAISS's text is a C++ source line
        found = "the vectors cannot be read: the file is truncated or not a FAISS index" if path.exists() else "the file is missing"
        raise ArtifactDamaged(found, where=str(path), remedy=_AGAIN) from None

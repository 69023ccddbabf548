"""Build an index folder from chunks: embed, structure, measure, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np

from runner.contract import Struct
from runner.errors import InputError
from runner.retrieval import bm25, embedders, structures
from runner.retrieval.embedders import TextEmbedder, TokenEmbedder, Vectors
from runner.retrieval.index import BY_WORDS, CHUNKS, DESCRIPTION, EMBEDDER, TOKENS, VECTORS
from runner.retrieval.journal import Journal, Tokens
from runner.retrieval.searchers import MaxSim, normal
from runner.retrieval.settings import Bm25, Embedder, Flat, Hybrid, Ivf, Lexical, Metric, Model, Okapi, Structure, by_token

_LOW_RECALL = 0.9  # below it the index says so by itself


@dataclass(frozen=True)
class Built:
    """What was measured while building.

    ``recall`` is recall@10 against exhaustive search, 1 for a flat index; the questions are the first words of up to 256
    chunks spread evenly over all (64 for late interaction), because short texts are what an index is asked for. Of a hybrid
    index it is that of its ranking by meaning.
    """

    count: int
    vectors: int  # as many as chunks, but for late interaction: as many as tokens
    dimension: int  # of BM25: different words
    recall: float
    truncated: int  # chunks longer than what the embedder reads
    embedded: int  # chunks embedded by this call; the others were found in ``work``
    bytes: int  # of index.faiss and of BM25's weights


def build_index(
    chunks: Path,
    out: Path,
    *,
    embedder: Embedder,
    structure: Structure,
    metric: Metric = "cosine",
    chunks_ref: str = "",
    embedder_folder: Path | None = None,
    work: Path | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
    warn: Callable[[str], None] = lambda message: None,
) -> Built:
    """Index the rows of ``chunks`` (a ``chunks.jsonl``) into the folder ``out``; see ``docs/artifacts.md`` for what lies there.

    ``embedder_folder`` holds a dense embedder that does not come from the hub; it is saved with the index. ``work`` is a
    folder that outlives a killed attempt at this very index: vectors found there are not computed again. ``progress``
    is called between blocks of chunks and may raise to stop. Raises InputError for chunks that cannot be indexed.
    """
    out.mkdir(parents=True, exist_ok=True)
    count = _copy(chunks, out / CHUNKS)
    if isinstance(embedder, Bm25):
        built = _weigh(embedder, chunks, count, out, progress, warn)
    else:
        main = embedder.dense if isinstance(embedder, Hybrid) else embedder
        model = _model(main, chunks, embedder_folder, device)
        save = isinstance(main, Lexical) or embedder_folder is not None
        built = _Part(chunks, count, model, structure, metric, work or out, progress, warn).build(out, save=save)
        if isinstance(embedder, Hybrid):
            built = replace(built, bytes=built.bytes + _weigh(embedder.lexical, chunks, count, out, lambda done, total: None, warn).bytes)
    described = {
        "embedder": _plain(embedder),
        "faiss": _plain(structure),
        "metric": metric,
        "count": count,
        "dimension": built.dimension,
        "recall_at_10": round(built.recall, 6),
        "truncated": built.truncated,
        "chunks": chunks_ref,
    }
    text = json.dumps(described, ensure_ascii=False, sort_keys=True) + "\n"
    (out / DESCRIPTION).write_text(text, encoding="utf-8", newline="\n")
    return built


def _model(settings: Model | Lexical, chunks: Path, folder: Path | None, device: str) -> TextEmbedder:
    if isinstance(settings, Lexical):
        return embedders.bag_of_words(settings, (row["text"] for row in _rows(chunks)))
    return embedders.load(settings, folder, device=device)


def _weigh(
    settings: Okapi, chunks: Path, count: int, out: Path, progress: Callable[[int, int], None], warn: Callable[[str], None]
) -> Built:
    weighed = bm25.build(settings, (row["text"] for row in _rows(chunks)), out / BY_WORDS, lambda done: progress(done, count))
    if weighed.wordless:
        warn(f"{weighed.wordless} of {count} chunks hold no word for BM25, which never finds them")
    progress(count, count)
    return Built(count, count, weighed.words, 1.0, 0, count, weighed.bytes)


@dataclass(frozen=True)
class _Part:
    """The vectors that an embedder gives the chunks, in one structure."""

    chunks: Path
    count: int
    model: TextEmbedder
    structure: Structure
    metric: Metric
    work: Path
    progress: Callable[[int, int], None]
    warn: Callable[[str], None]

    @property
    def by_token(self) -> bool:
        return by_token(self.model.settings)

    def build(self, out: Path, *, save: bool) -> Built:
        journal = Journal(self.work, self.model.dimension)
        truncated, embedded = self._embed(journal)
        vectors, tokens = journal.read()
        if self.metric == "cosine":
            faiss.normalize_L2(vectors)
        self._advise(len(vectors), truncated)
        index = structures.build(self.structure, vectors)
        recall = 1.0 if isinstance(self.structure, Flat) else self._recall(index, vectors, tokens)
        if recall < _LOW_RECALL:
            wider = "faiss.nprobe" if isinstance(self.structure, Ivf) else "faiss.ef_search or faiss.m"
            self.warn(f"the index finds {recall:.0%} of the truly nearest ten (recall@10): raise {wider}, or use kind: flat")
        faiss.write_index(index, str(out / VECTORS))
        if self.by_token:
            np.save(out / TOKENS, tokens)
        if save:
            self.model.save(out / EMBEDDER)
        journal.remove_from(out)
        return Built(self.count, len(vectors), self.model.dimension, recall, truncated, embedded, (out / VECTORS).stat().st_size)

    def _embed(self, journal: Journal) -> tuple[int, int]:
        """Embed what the journal lacks, block by block. How many chunks are cut, and how many were embedded now."""
        ready = journal.resume(self.model.block, self.count)
        truncated = done = 0
        for texts in _blocks(self.chunks, self.model.block):
            truncated += self.model.truncated(texts)
            if done >= ready:
                if self.by_token:
                    assert isinstance(self.model, TokenEmbedder)
                    journal.append(self.model.passage_tokens(texts))
                else:
                    journal.append([vector[None] for vector in self.model.passages(texts)])
            done += len(texts)
            self.progress(done, self.count)
        return truncated, self.count - ready

    def _recall(self, index: Any, vectors: Vectors, tokens: Tokens) -> float:
        asked = {int(row) for row in np.linspace(0, self.count - 1, min(64 if self.by_token else 256, self.count))}
        texts = [" ".join(row["text"].split()[:12]) for number, row in enumerate(_rows(self.chunks)) if number in asked]
        if not self.by_token:
            return structures.recall(index, vectors, normal(self.model.queries(texts), self.metric == "cosine"))
        assert isinstance(self.model, TokenEmbedder)
        k = min(10, self.count)
        searcher = MaxSim(index, tokens, self.model, cosine=self.metric == "cosine")
        exact = MaxSim(structures.build(Flat(), vectors), tokens, self.model, cosine=self.metric == "cosine")
        found = [[score for _, score in ranking] + [-np.inf] * (k - len(ranking)) for ranking in searcher.search(texts, k)]
        return structures.near(np.array(found), np.array([ranking[-1:] for ranking in exact.search(texts, k)])[:, :, 1])

    def _advise(self, vectors: int, truncated: int) -> None:
        structure, noun = self.structure, "token vectors" if self.by_token else "chunks"
        if isinstance(structure, Ivf) and structure.nlist <= vectors < structures.ADVISED_POINTS * structure.nlist:
            self.warn(
                f"{vectors} {noun} are few for {structure.nlist} IVF lists: FAISS advises {structures.ADVISED_POINTS} {noun} a list, "
                f"so at most {max(1, vectors // structures.ADVISED_POINTS)} lists"
            )
        if truncated:
            self.warn(
                f"{truncated} of {self.count} chunks are longer than the {self.model.longest} tokens that the embedder reads; "
                "it finds them by their beginning only"
            )


def _blocks(chunks: Path, size: int) -> Iterator[list[str]]:
    texts: list[str] = []
    for row in _rows(chunks):
        texts.append(row["text"])
        if len(texts) == size:
            yield texts
            texts = []
    if texts:
        yield texts


def _rows(chunks: Path) -> Iterator[dict[str, Any]]:
    with chunks.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _copy(chunks: Path, target: Path) -> int:
    """Check every row while copying; the number of rows."""
    count = 0
    if not chunks.is_file():
        raise InputError("there are no chunks here", where=str(chunks))
    with chunks.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8", newline="\n") as copy:
        for count, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"row {count} is not JSON: {error}", where=f"{chunks}:{count}") from None
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise InputError(f"row {count} has no `text`", where=f"{chunks}:{count}")
            copy.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
    if not count:
        raise InputError(
            "there is not one chunk to index", where=str(chunks), remedy="look at files.jsonl of the documents: was any text read?"
        )
    return count


def _plain(settings: Struct) -> dict[str, Any]:
    """Every field with its value, defaults too: the description must not depend on later defaults."""
    fields = {name: _plain(value) if isinstance(value, Struct) else value for name, value in msgspec.structs.asdict(settings).items()}
    tag = settings.__struct_config__.tag
    return {"kind": tag, **fields} if tag else fields

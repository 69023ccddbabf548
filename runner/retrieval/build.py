"""Build an index folder from chunks: embed, structure, measure, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np

from runner.errors import InputError
from runner.retrieval import embedders, structures
from runner.retrieval.embedders import TextEmbedder, Vectors
from runner.retrieval.index import CHUNKS, DESCRIPTION, EMBEDDER, VECTORS
from runner.retrieval.settings import Embedder, Flat, Ivf, Lexical, Metric, Structure


@dataclass(frozen=True)
class Built:
    """What was measured while building.

    ``recall`` is recall@10 against exhaustive search, 1 for a flat index; the questions are the first words of up to 256
    chunks spread evenly over all, because short texts are what an index is asked for.
    """

    count: int
    dimension: int
    recall: float
    truncated: int  # chunks longer than what the embedder reads
    embedded: int  # chunks embedded by this call; the others were found in ``work``
    bytes: int  # of index.faiss


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
    if isinstance(embedder, Lexical):
        model = embedders.bag_of_words(embedder, (row["text"] for row in _rows(chunks)))
    else:
        model = embedders.load(embedder, embedder_folder, device=device)
    vectors, truncated, embedded = _embed(chunks, count, model, (work or out) / "vectors.f32", progress)
    if metric == "cosine":
        faiss.normalize_L2(vectors)
    if isinstance(structure, Ivf) and structure.nlist <= count < structures.ADVISED_POINTS * structure.nlist:
        warn(
            f"{count} chunks are few for {structure.nlist} IVF lists: FAISS advises {structures.ADVISED_POINTS} chunks a list, "
            f"so at most {max(1, count // structures.ADVISED_POINTS)} lists"
        )
    if truncated:
        warn(
            f"{truncated} of {count} chunks are longer than the {model.model.max_seq_length} tokens that the embedder reads; "
            "it finds them by their beginning only"
        )
    index = structures.build(structure, vectors)
    recall = 1.0 if isinstance(structure, Flat) else structures.recall(index, vectors, _questions(chunks, count, model, metric))
    faiss.write_index(index, str(out / VECTORS))
    if isinstance(embedder, Lexical) or embedder_folder is not None:
        model.save(out / EMBEDDER)
    described = {
        "embedder": _plain(embedder),
        "faiss": _plain(structure),
        "metric": metric,
        "count": count,
        "dimension": model.dimension,
        "recall_at_10": round(recall, 6),
        "truncated": truncated,
        "chunks": chunks_ref,
    }
    text = json.dumps(described, ensure_ascii=False, sort_keys=True) + "\n"
    (out / DESCRIPTION).write_text(text, encoding="utf-8", newline="\n")
    (out / "vectors.f32").unlink(missing_ok=True)
    return Built(count, model.dimension, recall, truncated, embedded, (out / VECTORS).stat().st_size)


def _embed(chunks: Path, count: int, model: TextEmbedder, file: Path, progress: Callable[[int, int], None]) -> tuple[Vectors, int, int]:
    """Append vectors to ``file`` block by block, after those that a killed attempt left there whole."""
    width = 4 * model.dimension
    size = file.stat().st_size if file.exists() else 0
    ready = size // (width * model.block) * model.block if size < width * count else count
    truncated = done = 0
    with file.open("r+b" if file.exists() else "wb") as vectors:
        vectors.truncate(width * ready)
        vectors.seek(width * ready)
        for texts in _blocks(chunks, model.block):
            truncated += model.truncated(texts)
            if done >= ready:
                vectors.write(np.ascontiguousarray(model.passages(texts)).tobytes())
                vectors.flush()
            done += len(texts)
            progress(done, count)
    return np.fromfile(file, dtype=np.float32).reshape(count, model.dimension), truncated, count - ready


def _questions(chunks: Path, count: int, model: TextEmbedder, metric: Metric) -> Vectors:
    asked = {int(row) for row in np.linspace(0, count - 1, min(256, count))}
    texts = [" ".join(row["text"].split()[:12]) for number, row in enumerate(_rows(chunks)) if number in asked]
    questions = np.ascontiguousarray(model.queries(texts))
    if metric == "cosine":
        faiss.normalize_L2(questions)
    return questions


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


def _plain(settings: Embedder | Structure) -> dict[str, Any]:
    """Every field with its value, defaults too: the description must not depend on later defaults."""
    return {"kind": settings.__struct_config__.tag, **msgspec.structs.asdict(settings)}

"""Makes chunks searchable: by vectors in a FAISS index, by words with BM25, or by both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, Struct, Upstream, doc
from runner.retrieval.settings import (
    Bm25,
    Embedder,
    Flat,
    Hybrid,
    Ivf,
    LateInteraction,
    Metric,
    Model,
    Okapi,
    SentenceTransformer,
    Structure,
    is_folder,
)

VERSION = 2
PORTS = (Port("chunks", "chunks"), Port("embedder", "embedder", required=False))
PRELOAD = ("runner.retrieval.preload",)


class Params(Struct):
    embedder: Annotated[Embedder, doc("what chunks are found by: vectors of a model or of words, BM25, or both")]
    faiss: Annotated[Structure, doc("how the vectors are searched")] = Flat()
    metric: Annotated[Metric, doc("similarity of two vectors: cosine, or the inner product of the vectors as they are")] = "cosine"


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("index")}


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    field, model = _model(params)
    return {f"{field}.model": [model.model]} if model is not None and model.model and is_folder(model.model) else {}


def hub(params: Params) -> Iterable[HubUse]:
    field, model = _model(params)
    if model is not None and model.model and not is_folder(model.model):
        yield HubUse(f"{field}.model", "model", model.model, model.revision)


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    structure, (field, model) = params.faiss, _model(params)
    yield from _of_words(params)
    if isinstance(structure, Ivf) and structure.nprobe > structure.nlist:
        yield Fault("faiss.nprobe", f"{structure.nprobe} lists to read of only {structure.nlist}", "at most faiss.nlist")
    tuned = bool(upstream.get("embedder"))
    if model is None:
        if tuned:
            yield Fault(
                "embedder.kind", "it reads no model, and a tuned embedder is bound", "kind: sentence-transformer, or no embedder in from"
            )
        return
    if model.model is None:
        if not tuned:
            yield Fault(f"{field}.model", "no model is named, and no tuned one is bound", "a model, or from: {embedder: STEP}")
        elif model.revision is not None:
            yield Fault(f"{field}.revision", "a tuned embedder has no revision", "no revision")
        return
    if tuned:
        yield Fault(f"{field}.model", f"{model.model} is named, and a tuned embedder is bound", "one of the two")
    if not is_folder(model.model) and model.model.count("/") > 1:
        yield Fault(f"{field}.model", f"{model.model} is no hub id", "org/name, or a folder written with a leading ./")
    if is_folder(model.model) and model.revision is not None:
        yield Fault(f"{field}.revision", "a local folder has no revision", "no revision, or a hub id as model")


def _of_words(params: Params) -> Iterable[Fault]:
    embedder = params.embedder
    if isinstance(embedder, Bm25):
        if not isinstance(params.faiss, Flat):
            yield Fault("faiss.kind", "BM25 has no vectors for FAISS, and its search is exact", "no such key, or embedder: {kind: lexical}")
        if params.metric != "cosine":
            yield Fault("metric", "BM25 has no vectors to compare", "no such key")
    field, words = ("embedder.lexical", embedder.lexical) if isinstance(embedder, Hybrid) else ("embedder", embedder)
    if isinstance(words, Okapi) and words.delta != Okapi().delta and words.method not in ("bm25l", "bm25+"):
        yield Fault(f"{field}.delta", f"{words.method} has no delta", "no such key, or method: bm25l or bm25+")


def _model(params: Params) -> tuple[str, Model | None]:
    """The part of the embedder that is a model, and the field that holds it."""
    field, part = ("embedder.dense", params.embedder.dense) if isinstance(params.embedder, Hybrid) else ("embedder", params.embedder)
    return field, part if isinstance(part, SentenceTransformer | LateInteraction) else None


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.retrieval.build import build_index

    _set_threads(ctx.resources.threads)
    _, model = _model(params)
    folder = None
    if model is not None and model.model is None:
        folder = inputs["embedder"].path
    elif model is not None and model.model and is_folder(model.model):
        folder = (ctx.root / model.model).resolve()

    def progress(done: int, total: int) -> None:
        ctx.progress(done, total, "chunks")
        ctx.check_cancelled()

    started = perf_counter()
    built = build_index(
        inputs["chunks"].path / "chunks.jsonl",
        out / MAIN,
        embedder=params.embedder,
        structure=params.faiss,
        metric=params.metric,
        chunks_ref=inputs["chunks"].ref,
        embedder_folder=folder,
        work=ctx.journal,
        device=ctx.resources.device,
        progress=progress,
        warn=ctx.warn,
    )
    facts: dict[str, tuple[Any, str]] = {
        "chunks": (built.count, "chunks"),
        "dimension": (built.dimension, "numbers"),
        "recall_at_10": (round(built.recall, 6), ""),
        "index_bytes": (built.bytes, "bytes"),
        "chunks_per_second": (round(built.embedded / (perf_counter() - started), 1), "chunks/s"),
    }
    if built.vectors != built.count:
        facts["token_vectors"] = (built.vectors, "vectors")
    for name, (value, unit) in facts.items():
        ctx.fact(name, value, unit)


def _set_threads(count: int) -> None:
    if count:
        import faiss
        import torch

        torch.set_num_threads(count)
        faiss.omp_set_num_threads(count)

"""Embeds chunks and builds a FAISS index over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, Struct, Upstream, doc
from runner.retrieval.settings import Embedder, Flat, Ivf, Metric, SentenceTransformer, Structure

VERSION = 1
PORTS = (Port("chunks", "chunks"),)
PRELOAD = ("runner.retrieval.preload",)


class Params(Struct):
    embedder: Annotated[Embedder, doc("what turns texts into vectors")]
    faiss: Annotated[Structure, doc("how the vectors are searched")] = Flat()
    metric: Annotated[Metric, doc("similarity of two vectors: cosine, or the inner product of the vectors as they are")] = "cosine"


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("index")}


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    if isinstance(params.embedder, SentenceTransformer) and params.embedder.is_folder:
        return {"embedder.model": [params.embedder.model]}
    return {}


def hub(params: Params) -> Iterable[HubUse]:
    if isinstance(params.embedder, SentenceTransformer) and not params.embedder.is_folder:
        yield HubUse("embedder.model", "model", params.embedder.model, params.embedder.revision)


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    structure, embedder = params.faiss, params.embedder
    if isinstance(structure, Ivf) and structure.nprobe > structure.nlist:
        yield Fault("faiss.nprobe", f"{structure.nprobe} lists to read of only {structure.nlist}", "at most faiss.nlist")
    if isinstance(embedder, SentenceTransformer):
        if not embedder.is_folder and embedder.model.count("/") > 1:
            yield Fault("embedder.model", f"{embedder.model} is no hub id", "org/name, or a folder written with a leading ./")
        if embedder.is_folder and embedder.revision is not None:
            yield Fault("embedder.revision", "a local folder has no revision", "no revision, or a hub id as model")


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.retrieval.build import build_index

    _set_threads(ctx.resources.threads)
    embedder, folder = params.embedder, None
    if isinstance(embedder, SentenceTransformer) and embedder.is_folder:
        folder = (ctx.root / embedder.model).resolve()

    def progress(done: int, total: int) -> None:
        ctx.progress(done, total, "chunks")
        ctx.check_cancelled()

    started = perf_counter()
    built = build_index(
        inputs["chunks"].path / "chunks.jsonl",
        out / MAIN,
        embedder=embedder,
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
    for name, (value, unit) in facts.items():
        ctx.fact(name, value, unit)


def _set_threads(count: int) -> None:
    if count:
        import faiss
        import torch

        torch.set_num_threads(count)
        faiss.omp_set_num_threads(count)

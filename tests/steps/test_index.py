from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import MAIN, Output, Resources, Upstream
from runner.retrieval import open_index
from runner.steps import kind
from tests.retrieval import tiny_embedder
from tests.steps.local_context import LocalContext, artifact

KIND = kind("index")
DENSE: dict[str, Any] = {"embedder": {"kind": "sentence-transformer", "model": "org/tiny"}}
LEXICAL: dict[str, Any] = {"embedder": {"kind": "lexical"}}
IVF: dict[str, Any] = {**DENSE, "faiss": {"kind": "ivf", "nlist": 4, "nprobe": 1}}
HNSW: dict[str, Any] = {**DENSE, "faiss": {"kind": "hnsw", "m": 4, "ef_construction": 4, "ef_search": 1}}

COLBERT: dict[str, Any] = {"embedder": {"kind": "late-interaction", "model": "org/colbert"}}
HYBRID: dict[str, Any] = {"embedder": {"kind": "hybrid", "dense": DENSE["embedder"], "lexical": {"k1": 1.2}}}
HYBRID_COLBERT: dict[str, Any] = {"embedder": {"kind": "hybrid", "dense": COLBERT["embedder"]}}

BM25: dict[str, Any] = {"embedder": {"kind": "bm25"}}


def with_field(params: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    return {**params, head: with_field(params[head], rest, value) if rest else value}


#: Field -> (params, another value of the field); in a union, of one of the members that have it.
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "embedder.model": (DENSE, "org/other"),
    "embedder.revision": (DENSE, "0123abc"),
    "embedder.query_prompt": (DENSE, "query: "),
    "embedder.passage_prompt": (DENSE, "passage: "),
    "embedder.max_seq_length": (DENSE, 4),
    "embedder.batch_size": (DENSE, 3),
    "embedder.max_features": (LEXICAL, 6),
    "embedder.min_df": (LEXICAL, 2),
    "embedder.use_idf": (LEXICAL, False),
    "embedder.cumulative_term_frequency": (LEXICAL, True),
    "embedder.k1": (BM25, 0.0),
    "embedder.b": (BM25, 0.0),
    "embedder.method": (BM25, "atire"),
    "embedder.delta": (with_field(BM25, "embedder.method", "bm25l"), 2.0),
    "embedder.stopwords": (BM25, "english"),
    "embedder.stemmer": (BM25, "english"),
    "embedder.scoring": (COLBERT, "mean-pool"),
    "embedder.dense.model": (HYBRID, "org/other"),
    "embedder.dense.revision": (HYBRID, "0123abc"),
    "embedder.dense.query_prompt": (HYBRID, "query: "),
    "embedder.dense.passage_prompt": (HYBRID, "passage: "),
    "embedder.dense.max_seq_length": (HYBRID, 4),
    "embedder.dense.batch_size": (HYBRID, 3),
    "embedder.dense.scoring": (HYBRID_COLBERT, "mean-pool"),
    "embedder.lexical.k1": (HYBRID, 0.0),
    "embedder.lexical.b": (HYBRID, 0.0),
    "embedder.lexical.method": (HYBRID, "bm25l"),
    "embedder.lexical.delta": (with_field(HYBRID, "embedder.lexical.method", "bm25+"), 9.0),
    "embedder.lexical.stopwords": (HYBRID, "english"),
    "embedder.lexical.stemmer": (HYBRID, "english"),
    "embedder.rank_constant": (HYBRID, 2),
    "embedder.depth": (HYBRID, 7),
    "faiss.m": (HNSW, 8),
    "faiss.ef_construction": (HNSW, 40),
    "faiss.ef_search": (HNSW, 50),
    "faiss.nlist": (IVF, 8),
    "faiss.nprobe": (IVF, 4),
    "metric": (DENSE, "inner_product"),
}
PROVED = set(CASES)

#: The same fields of the other models.
OF_COLBERT: dict[str, Any] = {
    "model": "org/other-colbert",
    "revision": "0123abc",
    "query_prompt": "[unused0] the ",
    "passage_prompt": "[unused1] the ",
    "max_seq_length": 6,
    "batch_size": 3,
}
OTHERS = {f"colbert.{name}": (COLBERT, f"embedder.{name}", value) for name, value in OF_COLBERT.items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    dense = {f"org/{name}": tiny_embedder.save(folder / name, seed) for seed, name in enumerate(["tiny", "other"])}
    return dense | {
        f"org/{name}": tiny_embedder.save_colbert(folder / name, seed) for seed, name in enumerate(["colbert", "other-colbert"])
    }


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, models: dict[str, Path]) -> list[Any]:
    """sentence-transformers with a hub of two models; records what is loaded and how texts are encoded."""
    import sentence_transformers

    recorded: list[Any] = []

    def record(library: Any) -> Any:
        class Recorded(library):
            def __init__(self, name: str | None = None, **options: Any) -> None:
                if name in models:
                    recorded.append(("load", name, options.pop("revision")))
                super().__init__(str(models.get(name, name)) if name else None, **options)

            def encode(self, inputs: Any, **options: Any) -> Any:
                recorded.append(("encode", len(inputs), options.get("batch_size")))
                return super().encode(inputs, **options)

        return Recorded

    for name in ("SentenceTransformer", "MultiVectorEncoder"):
        monkeypatch.setattr(sentence_transformers, name, record(getattr(sentence_transformers, name)))
    return recorded


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[Path, LocalContext]]:
    chunks = tmp_path / "chunks"
    chunks.mkdir()
    generator = random.Random(1)
    rows = [
        {"id": f"d#{n}", "text": " ".join(generator.choices(tiny_embedder.WORDS, k=9)) + (" unique" if n == 3 else "")} for n in range(60)
    ]
    (chunks / "chunks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def run(
        params: dict[str, Any], name: str = "run", resources: Resources | None = None, embedder: Path | None = None
    ) -> tuple[Path, LocalContext]:
        context = LocalContext(tmp_path / name, tmp_path, resources or Resources(device="cpu"))
        out = tmp_path / name / "out"
        inputs = {"chunks": artifact(chunks, "chunks"), "embedder": None if embedder is None else artifact(embedder, "embedder")}
        KIND.module.run(msgspec.convert(params, KIND.params), inputs, out, context)
        return out / MAIN, context

    return run


@pytest.mark.parametrize("case", sorted(CASES | OTHERS))
def test_every_field_is_used(case: str, calls: list[Any], run: Any) -> None:
    params, field, value = OTHERS[case] if case in OTHERS else (CASES[case][0], case, CASES[case][1])

    def observed(params: dict[str, Any], name: str) -> list[Any]:
        """Everything but index.json, which would differ in any case."""
        calls.clear()
        folder, _ = run(params, name)
        found = open_index(folder, device="cpu").search(["the small bird sang", "cat of the house"], 5)
        vectors = [path.read_bytes() for name in ("index.faiss", "*.npy", "vocab*") for path in sorted(folder.rglob(name))]
        return [vectors, [[(hit.chunk["id"], hit.score) for hit in hits] for hits in found], list(calls)]

    before, after = observed(params, "before"), observed(with_field(params, field, value), "after")
    assert before != after
    assert before == observed(params, "again")


def test_what_lies_in_the_folder_and_what_was_measured(run: Any) -> None:
    folder, context = run(LEXICAL)
    assert sorted(path.name for path in folder.iterdir()) == ["chunks.jsonl", "embedder", "index.faiss", "index.json"]
    described = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    assert described["count"] == 60
    assert described["chunks"] == "made-key/chunks"
    assert described["embedder"]["kind"] == "lexical"
    assert described["faiss"] == {"kind": "flat"}
    assert context.facts["chunks"] == 60
    assert context.facts["recall_at_10"] == 1
    assert context.facts["index_bytes"] == (folder / "index.faiss").stat().st_size
    assert context.last_progress == (60, 60, "chunks")


def test_a_local_folder_is_saved_with_the_index(run: Any, models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(models["org/tiny"].parent)
    params = {"embedder": {"kind": "sentence-transformer", "model": "./models/tiny"}}
    folder, _ = run(params)
    (tmp_path / "models").unlink()
    assert open_index(folder).search(["cat"], 1)[0]
    assert str(tmp_path) not in (folder / "index.json").read_text()


def test_a_tuned_embedder_is_the_one_that_is_bound(run: Any, models: dict[str, Path]) -> None:
    for name, params in (
        ("dense", {"kind": "sentence-transformer"}),
        ("hybrid", {"kind": "hybrid", "dense": {"kind": "sentence-transformer"}}),
    ):
        named, _ = run({"embedder": {"kind": "sentence-transformer", "model": str(models["org/other"])}}, f"{name}-named")
        bound, _ = run({"embedder": params}, name, embedder=models["org/other"])
        assert (bound / "index.faiss").read_bytes() == (named / "index.faiss").read_bytes()
        assert open_index(bound).search(["cat"], 1)[0]  # saved with the index


def test_a_hub_model_is_not_copied(run: Any, calls: list[Any]) -> None:
    folder, _ = run(DENSE)
    assert not (folder / "embedder").exists()


def test_threads_are_used(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss
    import torch

    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(torch, "set_num_threads", lambda n: asked.append(("torch", n)))
    monkeypatch.setattr(faiss, "omp_set_num_threads", lambda n: asked.append(("faiss", n)))
    run(LEXICAL, resources=Resources(threads=3))
    assert {("torch", 3), ("faiss", 3), ("faiss", 1)} <= set(asked)


@pytest.mark.parametrize(
    ("params", "path", "found"),
    [
        ({**BM25, "faiss": {"kind": "hnsw"}}, "faiss.kind", "BM25 has no vectors for FAISS, and its search is exact"),
        ({**BM25, "metric": "inner_product"}, "metric", "BM25 has no vectors to compare"),
        (with_field(BM25, "embedder.delta", 1.0), "embedder.delta", "lucene has no delta"),
        (with_field(HYBRID, "embedder.lexical.delta", 1.0), "embedder.lexical.delta", "lucene has no delta"),
        ({**LEXICAL, "faiss": {"kind": "ivf", "nlist": 4, "nprobe": 5}}, "faiss.nprobe", "5 lists to read of only 4"),
        ({"embedder": {"kind": "sentence-transformer", "model": "a/b/c"}}, "embedder.model", "a/b/c is no hub id"),
        (
            {"embedder": {"kind": "sentence-transformer", "model": "./a", "revision": "x"}},
            "embedder.revision",
            "a local folder has no revision",
        ),
        ({"embedder": {"kind": "sentence-transformer"}}, "embedder.model", "no model is named, and no tuned one is bound"),
        (
            {"embedder": {"kind": "hybrid", "dense": {"kind": "sentence-transformer"}}},
            "embedder.dense.model",
            "no model is named, and no tuned one is bound",
        ),
        (
            {"embedder": {"kind": "hybrid", "dense": {"kind": "late-interaction", "model": "a/b/c"}}},
            "embedder.dense.model",
            "a/b/c is no hub id",
        ),
    ],
)
def test_check(params: dict[str, Any], path: str, found: str) -> None:
    [fault] = KIND.check(msgspec.convert(params, KIND.params), {})
    assert (fault.path, fault.found) == (path, found)


@pytest.mark.parametrize(
    ("params", "path", "found"),
    [
        (DENSE, "embedder.model", "org/tiny is named, and a tuned embedder is bound"),
        (COLBERT, "embedder.model", "org/colbert is named, and a tuned embedder is bound"),
        (BM25, "embedder.kind", "it reads no model, and a tuned embedder is bound"),
        (LEXICAL, "embedder.kind", "it reads no model, and a tuned embedder is bound"),
        (
            {"embedder": {"kind": "sentence-transformer", "revision": "x"}},
            "embedder.revision",
            "a tuned embedder has no revision",
        ),
    ],
)
def test_check_with_a_tuned_embedder(params: dict[str, Any], path: str, found: str) -> None:
    tuned = Upstream("tuned", "tune-embedder", None, Output("embedder"))
    [fault] = KIND.check(msgspec.convert(params, KIND.params), {"embedder": [tuned]})
    assert (fault.path, fault.found) == (path, found)


def test_sources_and_hub() -> None:
    local = msgspec.convert({"embedder": {"kind": "sentence-transformer", "model": "./models/tiny/"}}, KIND.params)
    dense, lexical = msgspec.convert(DENSE, KIND.params), msgspec.convert(LEXICAL, KIND.params)
    assert KIND.sources(local) == {"embedder.model": ["./models/tiny/"]}
    assert KIND.sources(dense) == KIND.sources(lexical) == {}
    assert [use.id for use in KIND.hub(dense)] == ["org/tiny"]
    assert list(KIND.hub(local)) == list(KIND.hub(lexical)) == []
    hybrid, tuned = msgspec.convert(HYBRID, KIND.params), msgspec.convert({"embedder": {"kind": "sentence-transformer"}}, KIND.params)
    assert [(use.field, use.id) for use in KIND.hub(hybrid)] == [("embedder.dense.model", "org/tiny")]
    assert KIND.sources(tuned) == {}
    assert list(KIND.hub(tuned)) == []

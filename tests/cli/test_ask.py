"""`recipe ask` and `recipe chat` on a run whose GGUF and index are real and tiny."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli import call
from runner.gguf.export import export
from runner.retrieval.build import build_index
from runner.retrieval.settings import Flat, Lexical
from tests.gguf import tiny
from tests.reports.fake_run import FakeRun


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one run: documents, an index, a GGUF, and answers made with both."""
    root = tmp_path_factory.mktemp("project")
    (root / "recipes").mkdir()
    (root / "prompts").mkdir()
    prompt = "{% for passage in passages %}{{ passage.text }}\n{% endfor %}{{ question }}"
    (root / "prompts/answer.j2").write_text(prompt, encoding="utf-8")
    run = FakeRun(root / "artifacts", "tiny")
    run.add("index", "index", {"main": ("index", "")})
    run.add("gguf", "export", {"main": ("model", "gguf")})
    inputs = {"model": [("gguf", "main")], "index": [("index", "main")]}
    params = {"prompt": "prompts/answer.j2", "top_k": 2, "max_new_tokens": 5}
    run.add("answers", "answer", {"main": ("answers", "")}, inputs=inputs, params=params)
    folders = {row["step"]: root / "artifacts" / row["artifact"] / "main" for row in run.record["instances"]}
    chunks = [
        {"id": f"d#{n}", "document": "d", "title": "On blocks", "section": "Scales", "page": n + 1, "text": text}
        for n, text in enumerate(tiny.TEXTS)
    ]
    (root / "chunks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chunks), encoding="utf-8")
    build_index(root / "chunks.jsonl", folders["index"], embedder=Lexical(), structure=Flat(), device="cpu")
    export(tiny.model(root / "base"), folders["gguf"] / "model.gguf", adapter=None, quantization="F32", allow_fallback=True)
    tiny.record(folders["gguf"], form="gguf", architecture="qwen2", system_prompt="Answer briefly.")
    run.save()
    return root


@pytest.fixture(autouse=True)
def inside(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    monkeypatch.delenv("RECIPE_ARTIFACTS", raising=False)


QUESTION = "What does low-rank adaptation freeze, and what does a block share?"


def test_an_answer_with_its_sources(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(["ask", "tiny", QUESTION]) == 0
    said = capfd.readouterr()
    answer, sources = said.out.split("\nSources\n")
    assert answer.strip()
    lines = sources.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("  1. On blocks, Scales, page ")
    assert said.err == ""


def test_passages_change_what_the_model_reads_and_can_be_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for options in ([], ["--no-rag"], ["--top-k", "1"]):
        assert call(["ask", "tiny", QUESTION, *options]) == 0
        outputs.append(capfd.readouterr().out)
    assert "Sources" not in outputs[1]
    assert outputs[1].strip() != outputs[0].split("\nSources")[0].strip()
    assert "  2. " not in outputs[2]


def test_what_cannot_be_asked_is_said(made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(["ask", "tiny", QUESTION, "--model", "lora"]) == 2
    assert capfd.readouterr().err == "error: the run has no GGUF of `lora`\n  it has gguf\n"
    FakeRun(made / "artifacts", "empty").save()
    assert call(["ask", "empty", QUESTION]) == 2
    assert capfd.readouterr().err.startswith("error: this run has no GGUF\n")
    assert call(["ask", "tiny", " "]) == 2
    assert capfd.readouterr().err.startswith("error: the question is empty\n")


def test_a_question_that_matches_no_passage_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(["ask", "tiny", "Zwei?"]) == 0
    assert capfd.readouterr().out.endswith("\nNo passage of the index was given to the model: none matches the question.\n")
    assert call(["ask", "tiny", "Zwei?", "--no-rag"]) == 0
    assert "No passage" not in capfd.readouterr().out


def test_a_section_named_like_its_document_is_said_once() -> None:
    from runner.cli.ask import _source

    assert _source({"title": "Heron", "section": "Heron", "page": 2, "score": 0.5}) == "Heron, page 2 (0.50)"
    assert _source({"title": None, "document": "a.md", "section": "Scales", "score": 0.5}) == "a.md, Scales (0.50)"


def test_lines_of_the_input_are_a_conversation(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for text in (f"{QUESTION}\n\nWhat is attention?\n", f"{QUESTION}\n", "What is attention?"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert call(["chat", "tiny"]) == 0
        said = capfd.readouterr()
        assert said.err == ""
        outputs.append(said.out)
    assert outputs[0].count("\nSources\n") == 2
    assert outputs[0].startswith(outputs[1])
    assert outputs[0] != outputs[1] + outputs[2]  # the second question has the first one before it
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is attention?\n"))
    assert call(["chat", "tiny", "--no-rag"]) == 0
    assert "Sources" not in capfd.readouterr().out


def test_a_conversation_at_a_terminal(made: Path) -> None:
    """^C stops an answer and nothing else; a question that cannot be asked is said; ^D and ^C at the prompt end it."""
    code = (
        "import sys\n"
        "from runner.answering.gguf import GgufAnswerer\n"
        "stream = GgufAnswerer.stream\n"
        "def slow(self, prompt, generation):\n"
        "    import time\n"
        "    for piece in stream(self, prompt, generation):\n"
        "        yield 'BEGUN' + piece\n"
        "        if 'forever' in prompt.message: time.sleep(30)\n"
        "GgufAnswerer.stream = slow\n"
        "from runner.cli import main\n"
        "main(['chat', 'tiny', '--no-rag'])\n"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=made, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    seen = ""

    def until(pattern: str) -> None:
        nonlocal seen
        while not re.search(pattern, seen):
            seen += os.read(ours, 4096).decode(errors="replace")
        seen = seen[re.search(pattern, seen).end() :]  # type: ignore[union-attr]

    def type_in(text: str) -> None:
        os.write(ours, text.encode())

    until("> ")
    type_in("for forever\n")
    until("BEGUN")
    process.send_signal(2)
    until(r"\(stopped\)")
    until("> ")
    type_in("why " * 300 + "\n")
    until("the prompt has")
    until("> ")
    type_in("And now?\n")
    until("BEGUN")
    until("> ")
    type_in("\x04")
    assert process.wait(20) == 0
    os.close(ours)

"""`recipe ask` gives the model the very prompt that the run's own step gave it, whatever the step's settings; and hostile input."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.cli import call
from runner.cli.options import find_run
from runner.contract import Output
from runner.steps import answer
from tests.cli.test_ask import QUESTION, inside, made
from tests.reports.fake_run import FakeRun
from tests.steps.local_context import LocalContext, artifact

__all__ = ["inside", "made"]  # fixtures

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "top-k": {"top_k": 1},
    "mmr": {"selection": {"kind": "mmr", "lambda_mult": 0.1}, "top_k": 3},
    "density": {"selection": {"kind": "information-density", "weight": 1.0}, "top_k": 2},
    "dropped": {"top_k": 3, "context_window": 110},
    "cut": {"top_k": 3, "context_window": 110, "overflow": {"kind": "truncate"}},
    "summarised": {
        "top_k": 3,
        "context_window": 150,
        "overflow": {"kind": "summarise", "prompt": "prompts/summary.j2", "max_new_tokens": 8},
    },
    "drawn": {"temperature": 0.9, "top_p": 0.8, "seed": 7},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_prompt_is_that_of_the_run(name: str, made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (made / "prompts/summary.j2").write_text("Sum up: {{ passage.text }}\n{{ question }}", encoding="utf-8")
    params = msgspec.convert({"prompt": "prompts/answer.j2", "max_new_tokens": 5, "reference_loss": False} | SETTINGS[name], answer.Params)
    tiny = json.loads((find_run("tiny") / "run.json").read_text(encoding="utf-8"))
    folders = {row["step"]: made / "artifacts" / row["artifact"] / "main" for row in tiny["instances"]}
    (tmp_path / "questions").mkdir()
    (tmp_path / "questions/examples.jsonl").write_text(json.dumps({"id": "q", "question": QUESTION}) + "\n", encoding="utf-8")
    inputs = {
        "questions": artifact(tmp_path / "questions", Output("examples")),
        "model": artifact(folders["gguf"], Output("model", "gguf"), step="gguf"),
        "index": artifact(folders["index"], Output("index")),
    }
    context = LocalContext(tmp_path / "context", made, answer.Resources(device="cpu", threads=1), artifacts={})
    answer.run(params, inputs, tmp_path / "out", context)
    ours = json.loads((tmp_path / "out/main/answers.jsonl").read_text(encoding="utf-8"))

    happened = {"dropped": "dropped", "cut": "truncated", "summarised": "summarised"}
    assert name not in happened or ours[happened[name]]  # the settings matter here
    run = FakeRun(made / "artifacts", f"alike-{name}")
    run.add("index", "index", {"main": ("index", "")}, state="planned")
    run.add("gguf", "export", {"main": ("model", "gguf")}, state="planned")
    model, built = {"model": [("gguf", "main")]}, json.loads(msgspec.json.encode(params))
    closed = {"prompt": "prompts/other.j2", "max_new_tokens": 5}
    run.add("closed", "answer", {"main": ("answers", "")}, inputs=model, params=closed, state="planned")
    run.add("answers", "answer", {"main": ("answers", "")}, inputs=model | {"index": [("index", "main")]}, params=built, state="planned")
    for row in run.record["instances"]:  # the very artifacts of the other run
        row["artifact"] = next((other["artifact"] for other in tiny["instances"] if other["step"] == row["step"]), None)
    run.save()
    assert call(["ask", f"alike-{name}", QUESTION, "--format", "json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["prompt"] == ours["prompt"]
    assert [source["chunk"] for source in said["sources"]] == [passage["chunk"] for passage in ours["retrieved"]]
    assert said["dropped"] == ours["dropped"]
    assert said["answer"] == ours["answer"]
    (made / "prompts/other.j2").write_text("Alone: {{ question }}", encoding="utf-8")
    assert call(["ask", f"alike-{name}", QUESTION, "--no-rag", "--format", "json"]) == 0
    assert "Alone: " in json.loads(capfd.readouterr().out)["prompt"]  # as the step without an index had it


@pytest.mark.parametrize(
    ("given", "answers"),
    [(b"", 0), (b"\n \n", 0), (b"Gr\xf6\xdfe? \xff\xfe\n", 1), (b"What is attention?\r\nno end of line", 2)],
)
def test_a_conversation_takes_any_input(
    given: bytes, answers: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8", "surrogateescape"))  # as Python opens it
    assert call(["chat", "tiny"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.count("\nSources\n") + said.out.count("\nNo passage of the index") == answers


def test_a_closed_input_asks_nothing(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert call(["chat", "tiny"]) == 0
    assert capfd.readouterr() == ("", "")


def test_a_question_may_hold_bytes_that_are_no_text(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(["ask", "tiny", os.fsdecode(b"Gr\xf6\xdfe?"), "--format", "json"]) == 0
    assert json.loads(capfd.readouterr().out)["question"] == "Gr\ufffd\ufffde?"


def test_a_question_that_is_too_long_is_said_in_one_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(["ask", "tiny", "why " * 5000]) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert "the prompt has 200" in said
    assert len(said) < 600


def test_an_unknown_run_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(["ask", "tinny", "Why?"]) == 2
    assert "did you mean `tiny`?" in capfd.readouterr().err
    assert call(["chat", "nothing-like-it"]) == 2
    assert "`recipe runs` lists the runs" in capfd.readouterr().err


def test_one_of_several_ggufs_is_taken_and_named(made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tiny = json.loads((find_run("tiny") / "run.json").read_text(encoding="utf-8"))
    run = FakeRun(made / "artifacts", "two")
    for step in ("one", "other"):
        params = {"prompt": "prompts/answer.j2", "max_new_tokens": 2}
        run.add(step, "export", {"main": ("model", "gguf")}, params=params, state="planned")
        run.record["instances"][-1]["artifact"] = next(row["artifact"] for row in tiny["instances"] if row["step"] == "gguf")
    run.save()
    assert call(["ask", "two", "Why?"]) == 0
    said = capfd.readouterr()
    assert said.err == "asking other; --model chooses another of one, other\n"
    assert "Sources" not in said.out  # there is no index
    assert call(["ask", "two", "Why?", "--model", "one"]) == 0
    assert capfd.readouterr().err == ""

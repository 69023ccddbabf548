"""A preview of a step that asks a paid teacher: few calls, read from the record and never written to it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runner.cli import call
from tests.cli.test_preview import tree
from tests.teachers.openai_server import Answer, openai, says

RECIPE = """\
recipe: 1
name: asking
title: Asking
steps:
  papers: {{uses: ingest, with: {{paths: ["recipes/corpus/*.md"]}}}}
  chunks: {{uses: chunk, from: papers, with: {{size: 120}}}}
  qa:
    uses: synthesize
    from: {{chunks: chunks}}
    with:
      mode: per-chunk
      prompt: prompts/ask.j2
      count: 1
      question_types: {{factual: 1}}
      teacher: {{provider: openai, model: gpt-5-mini}}
    resources: {{endpoint: "{endpoint}", api_key_env: SOME_API_KEY, concurrency: 2}}
"""
TEXT = "# Adapters\n\n" + "\n\n".join(f"The rank of adapter number {n} is {n * 2}, which its authors chose with care." for n in range(12))


def answer(_: int, body: dict[str, Any]) -> Answer:
    number = re.findall(r"adapter number (\d+)", body["messages"][0]["content"])[0]
    pair = {
        "question": f"Which rank has adapter number {number}?",
        "answer": "It is even.",
        "quotes": ["which its authors chose with care"],
        "type": "factual",
    }
    return says(json.dumps({"pairs": [pair]}))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("recipes/corpus", "prompts"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "recipes/corpus/a.md").write_text(TEXT)
    (tmp_path / "prompts/ask.j2").write_text("{{ count }} {{ types }} {{ mark }}\n{{ title }}: {{ text }}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECIPE_ARTIFACTS", raising=False)
    monkeypatch.setenv("SOME_API_KEY", "canary-0123456789")
    return tmp_path


def look(capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert call(["run", "recipes/asking.yaml", "--only", "qa", "--preview", "2", "--format", "json"]) == 0
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


def test_calls_are_few_and_not_recorded_and_the_record_is_used(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with openai(answer) as server:
        (project / "recipes/asking.yaml").write_text(RECIPE.format(endpoint=server.url))
        assert call(["run", "recipes/asking.yaml", "--until", "chunks"]) == 0
        capfd.readouterr()
        before = tree(project / "artifacts")

        first = look(capfd)
        assert len(server.requests) == 2
        assert len(first["prompts"]) == 2
        assert all("The rank of adapter number" in prompt["text"] for prompt in first["prompts"])
        assert len(first["files"]["main/examples.jsonl"]) == 2
        assert tree(project / "artifacts") == before

        assert call(["run", "recipes/asking.yaml"]) == 0
        capfd.readouterr()
        paid, before = len(server.requests), tree(project / "artifacts")
        assert look(capfd)["files"]["main/examples.jsonl"] == first["files"]["main/examples.jsonl"]
        assert len(server.requests) == paid  # all on record
        assert tree(project / "artifacts") == before

"""What `recipe plan` says of the services that a run asks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.cli import call

RECIPE = """\
recipe: 1
name: graded
steps:
  data: {uses: dataset, with: {path: data.jsonl}}
  good:
    uses: curate
    from: data
    with: {quality: {teacher: {provider: gemini, model: gemini-3.8-flash}, prompt: prompt.j2}}
    resources: {api_key_env: MY_KEY}
  plain: {uses: curate, from: data, with: {schema: {}}}
"""


def test_services_are_named_with_the_keys_that_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RECIPE_ARTIFACTS", raising=False)
    monkeypatch.delenv("MY_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/graded.yaml").write_text(RECIPE)
    (tmp_path / "data.jsonl").write_text('{"question": "Q", "answer": "A"}\n')
    (tmp_path / "prompt.j2").write_text("{{ question }} {{ answer }} {{ mark }}")

    def said(*arguments: str) -> str:
        assert call(("plan", "recipes/graded.yaml", *arguments)) == 0
        return capfd.readouterr().out

    assert said().endswith("asked over the network:\n  Gemini API, by good; MY_KEY is not set\n")
    monkeypatch.setenv("MY_KEY", "x")
    assert said().endswith("asked over the network:\n  Gemini API, by good\n")
    assert "asked over" not in said("--until", "plain")
    rows = {row["id"]: row["network"] for row in json.loads(said("--format", "json"))["instances"]}
    assert rows == {"data": [], "good": ["Gemini API"], "plain": []}

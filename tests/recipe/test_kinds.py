"""Where a misplaced key belongs, among the project's own step kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.recipe import validate


@pytest.mark.parametrize(
    ("teacher", "hint"),
    [
        (
            {"provider": "extractive", "model": "x"},
            "it belongs to `provider: google-generativeai` or `provider: gemini` or `provider: openai`",
        ),
        ({"provider": "gemini", "model": "x", "context_window": 9}, "it belongs to `provider: local`"),
        ({"provider": "openai", "model": "x", "temprature": 1}, "did you mean `temperature`?"),
    ],
)
def test_a_key_of_other_providers_names_all_of_them(tmp_path: Path, teacher: dict[str, Any], hint: str) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "ask.j2").write_text("{{ text }}")
    params = {"mode": "whole-document", "prompt": "ask.j2", "teacher": teacher}
    steps = {"d": {"uses": "ingest", "with": {"paths": ["recipes"]}}, "q": {"uses": "synthesize", "from": "d", "with": params}}
    file = tmp_path / "recipes" / "r.yaml"
    file.write_text(json.dumps({"recipe": 1, "name": "r", "steps": steps}))
    assert [problem.hint for problem in validate(file)] == [hint]

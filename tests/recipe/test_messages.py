"""Every error of the language, word for word: see messages.txt."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.recipe import render_problems, validate

_ENTRIES = Path(__file__).with_name("messages.txt").read_text(encoding="utf-8").split("\n=== ")[1:]
CASES = {
    name: rest.split("---\n", 1) if rest.startswith("---") else rest.rsplit("\n---\n", 1)
    for name, rest in (e.split("\n", 1) for e in _ENTRIES)
}


@pytest.mark.parametrize("name", CASES)
def test_message(name: str, project: Path, toy_kinds: None) -> None:
    recipe, expected = CASES[name]
    (project / "recipes" / "parent.yaml").write_text("recipe: 1\nname: parent\nsteps: {a: {uses: model}}\n", encoding="utf-8")
    (project / "prompts" / "broken.j2").write_text("a\n{{ question\n", encoding="utf-8")
    file = project / "recipes" / "r.yaml"
    text = recipe.replace("^G", "\x07").replace("->|", "\t")
    file.write_text(text + "\n" if text else "", encoding="utf-8", newline="\n")
    assert render_problems(validate(file)) == expected.strip("\n")

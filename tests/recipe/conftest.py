from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

import runner.steps
from tests.recipe import toys


@pytest.fixture
def toy_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry holds the toy kinds alone."""
    monkeypatch.setattr(runner.steps, "KINDS", toys.KINDS)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a corpus and a prompt."""
    (tmp_path / "recipes" / "corpus").mkdir(parents=True)
    (tmp_path / "recipes" / "corpus" / "a.md").write_text("# A\n", encoding="utf-8")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "answer.j2").write_text("{{ question }}{% for p in passages %}{{ p.text }}{% endfor %}", encoding="utf-8")
    return tmp_path


@pytest.fixture
def write(project: Path) -> Callable[..., Path]:
    """Writes ``recipes/NAME.yaml`` from indented text."""

    def _write(text: str, name: str = "r", *, head: bool = True) -> Path:
        file = project / "recipes" / f"{name}.yaml"
        body = dedent(text).lstrip("\n")
        file.write_text(f"recipe: 1\nname: {name}\n{body}" if head else body, encoding="utf-8", newline="\n")
        return file

    return _write

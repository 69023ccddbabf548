from __future__ import annotations

from pathlib import Path

import pytest

from runner import steps

RECIPE = """\
recipe: 1
name: walls
title: Three walls
steps:
  low:
    uses: bricks
    with: {count: 2}
  middle:
    uses: bricks
    from: low
    with: {count: 4}
  high:
    uses: bricks
    from: [low, middle]
    with: {count: "${matrix.bricks}"}
matrix:
  bricks: [1, 5]
profiles:
  tiny:
    steps:
      low: {with: {count: 1}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one recipe of toy steps; the working directory is its root."""
    monkeypatch.setitem(steps.KINDS, "bricks", "tests.cli.toy_bricks")
    monkeypatch.delenv("RECIPE_ARTIFACTS", raising=False)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "walls.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path

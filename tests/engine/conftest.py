"""A project folder, and a store in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner import steps
from runner.engine import Store
from tests.engine.toys.building import TOY


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, module in TOY.items():
        monkeypatch.setitem(steps.KINDS, name, module)  # gone again after the test
    (tmp_path / "recipes").mkdir()
    return tmp_path


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root / "artifacts")

"""The engine's fixtures, for faults too."""

from __future__ import annotations

from tests.engine.conftest import root, store

__all__ = ["root", "store"]

"""The recipe language: loading, checking, and what commands show of it. Imports nothing heavy.

``load(file, profiles=(), sets=())`` gives a checked :class:`Recipe`; ``validate(file)`` lists every problem.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.recipe.faithful import unlisted
from runner.recipe.load import find_root, load, to_yaml, validate
from runner.recipe.model import Instance, Recipe, Ref
from runner.recipe.overlay import suggest
from runner.recipe.pins import pin
from runner.recipe.problems import render_problems


def describe(topic: str) -> dict[str, Any]:
    """See :func:`runner.recipe.manual.describe`."""
    from runner.recipe import manual

    return manual.describe(topic)


def schemas() -> dict[str, dict[str, Any]]:
    """See :func:`runner.recipe.schema.schemas`."""
    from runner.recipe import schema

    return schema.schemas()


def write_schemas(folder: Path) -> list[Path]:
    """See :func:`runner.recipe.schema.write_schemas`."""
    from runner.recipe import schema

    return schema.write_schemas(folder)


__all__ = [
    "Instance",
    "Recipe",
    "Ref",
    "describe",
    "find_root",
    "load",
    "pin",
    "render_problems",
    "schemas",
    "suggest",
    "to_yaml",
    "unlisted",
    "validate",
    "write_schemas",
]

"""Recipes of toys, built by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from runner import steps
from runner.errors import Where
from runner.recipe.model import Instance, Recipe, Ref

TOY = {"toy": "tests.engine.toys.toy"}


def toys() -> None:
    """Make the toy kind known."""
    steps.KINDS.update(TOY)


def instance(
    step: str,
    inputs: Mapping[str, Sequence[str]] | None = None,
    axes: Mapping[str, str] | None = None,
    resources: Mapping[str, Any] | None = None,
    kind: str = "toy",
    **params: Any,
) -> Instance:
    """``inputs`` names instances by port; ``a.part`` names an output."""
    toys()
    known = steps.kind(kind)
    if kind == "toy":
        params.setdefault("name", step)
    converted = msgspec.convert(params, known.params)
    labels = ",".join(f"{axis}={label}" for axis, label in (axes or {}).items())
    return Instance(
        id=f"{step}[{labels}]" if labels else step,
        step=step,
        axes=dict(axes or {}),
        kind=kind,
        params=converted,
        resources=msgspec.convert(dict(resources or {}), known.resources),
        inputs={port: [Ref(name, "main") for name in names] for port, names in (inputs or {}).items()},
        outputs=known.outputs(converted),
        where=Where("recipes/toy.yaml", 3, 5),
    )


def recipe(root: Path, *instances: Instance, **about: Any) -> Recipe:
    axes: dict[str, list[str]] = {}
    for one in instances:
        for axis, label in one.axes.items():
            if label not in axes.setdefault(axis, []):
                axes[axis].append(label)
    document = {"recipe": 1, "name": "toy", "steps": {one.step: {"uses": one.kind} for one in instances}}
    return Recipe(root / "recipes/toy.yaml", root, "toy", "A toy", document, {one.id: one for one in instances}, axes, **about)


def chain(root: Path, length: int = 3, **params: Any) -> Recipe:
    """Steps s0, s1, ... each reading the one before it."""
    made = [instance(f"s{n}", {"texts": [f"s{n - 1}"]} if n else None, text=f"text {n}", **params) for n in range(length)]
    return recipe(root, *made)


def diary(root: Path) -> list[str]:
    """The names of the toys that were executed, in order."""
    path = root / "diary"
    return path.read_text().split() if path.exists() else []

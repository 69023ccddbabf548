"""A recipe after loading, overlays, substitution and wiring: what the engine, the commands and the report work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.contract import Output, Resources, Struct, Upstream
from runner.errors import Where


@dataclass(frozen=True)
class Ref:
    """An output of an instance."""

    instance: str
    output: str


@dataclass(frozen=True)
class Instance:
    """A step at one arm: the unit of planning, caching and running.

    ``id`` is the step name, followed by its axis values where it has any: ``answers[system=gguf,rag=index]``.
    ``inputs`` holds every port that is bound; an optional port left empty is absent. ``upstream`` tells the same of their producers' steps.
    """

    id: str
    step: str
    axes: Mapping[str, str]
    kind: str
    params: Struct
    resources: Resources
    inputs: Mapping[str, Sequence[Ref]]
    outputs: Mapping[str, Output]
    where: Where
    upstream: Mapping[str, Sequence[Upstream]] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. ``instances`` are in an order in which they can run; ``document`` is the resolved YAML as data."""

    file: Path
    root: Path
    name: str
    title: str
    document: Mapping[str, Any]
    instances: Mapping[str, Instance]
    axes: Mapping[str, Sequence[str]]  # axis -> labels, in the order of the matrix
    overlays: Sequence[str] = ()  # in words: "profile smoke", "--set vars.corpus=..."
    pins: Mapping[str, str] = field(default_factory=dict)  # hub id -> revision, from the lock file
    outside: Sequence[str] = ()  # path values that came from the command line and may leave the project root
    origins: Mapping[str, str] = field(default_factory=dict)  # dotted path -> where the value was written, for people
    authored: Mapping[str, Any] = field(default_factory=dict)  # the recipe with its parents, before profiles, --set and `like`

    def steps(self) -> list[str]:
        """Step names in running order."""
        return list(dict.fromkeys(instance.step for instance in self.instances.values()))

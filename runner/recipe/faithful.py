"""Faithfulness: in a recipe with a `source`, every value is stated by it, or owned up to as an assumption or a deviation.

Values are the leaves of `with` as they are written (a list is one value; a value that only reads `${vars.x}` or
`${matrix.x}` is also covered by a path `vars.x` or `matrix.x`). Names of prompt and data files, and wiring, are exempt.
What profiles and `--set` change needs no listing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runner.recipe.model import Recipe
from runner.recipe.nodes import Node, Path, dotted, follow, undotted
from runner.recipe.overlay import suggest
from runner.recipe.problems import Findings

_SECTIONS = ("stated", "assumptions", "deviations")
_READ = re.compile(r"\$\{\s*((?:vars|matrix)\.[^.${}\s]+)[^${}]*\}")


def unlisted(recipe: Recipe) -> list[str]:
    """Dotted paths of the values of a recipe with a `source` that are in none of `stated`, `assumptions`, `deviations`."""
    document = recipe.authored
    if not document.get("source"):
        return []
    listed = [path for section in _SECTIONS for entry in document.get(section) or () for path in _paths(entry.get("path"))]
    exempt = _files(recipe)
    missing = []
    for path, value in _values(document.get("steps") or {}):
        name = dotted(path)
        names = [name, *(_READ.fullmatch(value).groups() if isinstance(value, str) and _READ.fullmatch(value) else ())]  # type: ignore[union-attr]
        if name not in exempt and not any(covers(pattern, candidate) for pattern in listed for candidate in names):
            missing.append(name)
    return missing


def covers(pattern: str, path: str) -> bool:
    """Whether a listed path speaks of a value: it is the value's own, or that of a map above it (`.*` says so outright)."""
    above = pattern.removesuffix(".*")
    return (path == pattern) or path.startswith((f"{above}.", f"{above}["))


def check_paths(plain: Node, findings: Findings) -> None:
    """Report listed paths that name nothing in the recipe as written."""
    every = [dotted(path) for path, _ in plain.walk() if path]
    wrong = {problem.path for problem in findings.problems()}
    for section in _SECTIONS:
        entries = plain.get(section)
        for index, entry in enumerate(entries.elements() if entries is not None else ()):
            given = entry.get("path")
            for node in (given.elements() if given.is_list else [given]) if given is not None else ():
                if isinstance(node.value, str) and not _names_something(plain, node.value, every):
                    hint = suggest(node.value, every)
                    if any(f"`{path}`" in hint for path in wrong):
                        continue  # the key that it means is misspelt, and reported
                    findings.add(node.where, f"{section}[{index}].path", f"`{node.value}` names no value of this recipe", hint=hint)


def _names_something(plain: Node, text: str, every: list[str]) -> bool:
    if text.startswith("vars.") and plain.get("vars") is None:
        return True  # a resolved recipe: its variables are written out
    if text.endswith(".*"):
        below = follow(plain, undotted(text[:-2]))
        return below is not None and (below.is_map or below.is_list)
    return text in every


def _paths(given: Any) -> Iterable[str]:
    return [given] if isinstance(given, str) else given or []


def _values(steps: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """The leaves of every `with`, with their paths."""

    def leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
        if isinstance(value, Mapping):
            for key, below in value.items():
                yield from leaves((*path, key), below)
        else:
            yield path, value

    for name, step in steps.items():
        if isinstance(step, Mapping):
            yield from leaves(("steps", name, "with"), step.get("with") or {})


def _files(recipe: Recipe) -> set[str]:
    """The fields that name prompts and data files."""
    from runner.recipe.kinds import kind_named

    found: set[str] = set()
    for instance in recipe.instances.values():
        kind = kind_named(instance.kind)
        if kind is not None:
            uses = [use.field for use in kind.prompts(instance.params)] + list(kind.sources(instance.params))
            found |= {f"steps.{instance.step}.with.{field}" for field in uses}
    return found

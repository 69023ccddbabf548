"""What was done: source, deviations, assumptions, and the recipe as it ran."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from runner.reports.formats import assigned, plain
from runner.reports.page import Block, Cell, Code, Column, Fold, Heading, Pairs, Paragraph, Table
from runner.reports.record import Json, Run


def blocks(run: Run) -> list[Block]:
    """The source, where the recipe departs from it, what it had to assume, and the resolved recipe."""
    record, found = run.record, list[Block]()
    if source := record.get("source"):
        found.append(
            Pairs(
                [
                    ("Address" if name == "url" else name.capitalize(), Cell(plain(value), href=_web(value)))
                    for name, value in source.items()
                ]
            )
        )
    if matrix := record.get("matrix"):
        found.append(Pairs([(f"Axis {axis}", Cell(", ".join(map(str, labels)))) for axis, labels in matrix.items()]))
    try:
        text = (run.folder / "recipe.yaml").read_text(encoding="utf-8")
    except OSError:
        text = ""
    entries = {name: list(record.get(name) or []) for name in ("stated", "deviations", "assumptions")}
    if (entries["stated"] or entries["assumptions"]) and record.get("overlays"):
        found.append(Paragraph("Values below are those of this run, as its overlays have changed them."))
    steps = _steps(text)
    listed = {path for rows in entries.values() for row in rows for path in _listed(row.get("path"))}

    def values(name: str, reason: str, field: str) -> Table:
        rows = [
            [_setting(path), Cell(_values(run, path, steps, listed)), Cell(plain(row.get(field)))]
            for row in entries[name]
            for path in _listed(row.get("path"))
        ]
        return Table([Column("Setting", wide=True), Column("Value", wide=True), Column(reason, wide=True)], rows)

    if entries["stated"]:
        found += [Heading("Values that the source states"), values("stated", "Stated in", "where")]
    if entries["deviations"]:
        found += [Heading("Where the recipe departs from the source"), _deviations(entries["deviations"])]
    if entries["assumptions"]:
        found += [Heading("Values that the source does not state"), values("assumptions", "Why this one", "why")]
    if text:
        found.append(Fold("The recipe as it ran, every overlay applied", [Code(text, "yaml")]))
    return found


def _deviations(entries: Sequence[Json]) -> Table:
    columns = [Column("What", wide=True), Column("Why", wide=True)]
    rows = [[Cell(plain(row.get("what"))), Cell(plain(row.get("why")))] for row in entries]
    if any(row.get("path") for row in entries):
        columns.insert(0, Column("Setting", wide=True))
        rows = [[_setting(*_listed(row.get("path"))), *cells] for cells, row in zip(rows, entries, strict=True)]
    return Table(columns, rows)


def _listed(paths: Any) -> list[str]:
    """One dotted path or several."""
    return [paths] if isinstance(paths, str) else [str(path) for path in paths or ()]


def _web(value: Any) -> str:
    return value if isinstance(value, str) and value.startswith(("https://", "http://")) and " " not in value else ""


def _setting(*paths: str) -> Cell:
    """``steps.lora.with.method.r`` as ``lora: method.r``, a resource likewise, and all of ``steps.lora.with`` as ``lora``."""
    return Cell(
        "; ".join(re.sub(r"^steps\.([^.]+)\.(?:with|resources)(?:\.\*$|$|\.)", r"\1: ", path).removesuffix(": ") for path in paths),
        code=True,
    )


def _steps(recipe: str) -> Json:
    """The steps of the resolved recipe; empty where it cannot be read."""
    import yaml

    try:
        document = yaml.load(recipe, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return {}
    steps = document.get("steps") if isinstance(document, Mapping) else None
    return steps if isinstance(steps, Mapping) else {}


def _values(run: Run, path: str, steps: Json, listed: Set[str]) -> str:
    """The value at a path. For all of a step, and where it ends in ``.*``: the values below it that the recipe gives and that have no
    entry of their own."""
    if axis := re.fullmatch(r"matrix\.([^.]+)", path):
        return ", ".join(map(str, (run.record.get("matrix") or {}).get(axis[1], ()))) or "–"
    resource = re.match(r"steps\.[^.]+\.resources\.", path)
    if not resource and not path.endswith((".*", ".with")):
        return _value(run, path)
    above = path.removesuffix(".*")
    found: Any = {"steps": steps}
    for part in above.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if resource:  # no part of what a run records of its instances
        return plain(found) or "–"
    names = [name for name in _leaves(found) if not set(_above(above, name)) & (listed - {path})]
    return "; ".join(f"{name} = {_value(run, f'{above}.{name}')}" for name in names) or "–"


def _leaves(value: Any, before: str = "") -> Iterator[str]:
    for name, below in value.items() if isinstance(value, Mapping) else ():
        if isinstance(below, Mapping) and below:
            yield from _leaves(below, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def _above(above: str, name: str) -> Iterator[str]:
    """The paths that speak of a value: its own and those of the maps above it."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        yield f"{above}.{'.'.join(parts[:count])}"
        yield f"{above}.{'.'.join(parts[:count])}.*"


def _value(run: Run, path: str) -> str:
    """The value at ``steps.NAME.with.a.b`` as it was used, several where the arms differ; a dash where none was."""
    parts = path.split(".")
    if len(parts) < 4 or parts[0] != "steps" or parts[2] != "with":
        return "–"
    found = []
    for instance in run.instances:
        if instance["step"] == parts[1]:
            value: Any = instance.get("params") or {}
            for part in parts[3:]:
                value = value.get(part) if isinstance(value, Mapping) else None
            if value not in found:
                found.append(value)
    return (
        " or ".join("null" if value is None else assigned(value) if isinstance(value, Mapping) else plain(value) for value in found) or "–"
    )

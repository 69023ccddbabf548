"""What was done: source, deviations, assumptions, and the recipe as it ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.reports.formats import plain
from runner.reports.page import Block, Cell, Code, Column, Fold, Heading, Pairs, Table
from runner.reports.record import Run


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
    if deviations := record.get("deviations"):
        found.append(Heading("Where the recipe departs from the source"))
        columns = [Column("What", wide=True), Column("Why", wide=True)]
        rows = [[Cell(plain(row.get("what"))), Cell(plain(row.get("why")))] for row in deviations]
        if any(row.get("path") for row in deviations):
            columns.append(Column("Where", wide=True))
            rows = [[*cells, Cell(", ".join(_listed(row.get("path"))))] for cells, row in zip(rows, deviations, strict=True)]
        found.append(Table(columns, rows))
    if assumptions := record.get("assumptions"):
        found.append(Heading("Values that the source does not state"))
        columns = [Column("Where"), Column("Value", wide=True), Column("Why this one", wide=True)]
        rows = [
            [Cell(path), Cell(_value(run, path)), Cell(plain(row.get("why")))] for row in assumptions for path in _listed(row.get("path"))
        ]
        found.append(Table(columns, rows))
    try:
        text = (run.folder / "recipe.yaml").read_text(encoding="utf-8")
    except OSError:
        text = ""
    if text:
        found.append(Fold("The recipe as it ran, every overlay applied", [Code(text, "yaml")]))
    return found


def _listed(paths: Any) -> list[str]:
    """One dotted path or several."""
    return [paths] if isinstance(paths, str) else [str(path) for path in paths or ()]


def _web(value: Any) -> str:
    return value if isinstance(value, str) and value.startswith(("https://", "http://")) and " " not in value else ""


def _value(run: Run, path: str) -> str:
    """The value at ``steps.NAME.with.a.b`` as it was used; a dash where several arms used several, or none did."""
    parts = path.split(".")
    if parts[-1] == "*":
        return "several"
    if len(parts) < 3 or parts[0] != "steps" or parts[2] != "with":
        return "–"
    found = []
    for instance in run.instances:
        if instance["step"] == parts[1]:
            value: Any = instance.get("params") or {}
            for part in parts[3:]:
                value = value.get(part) if isinstance(value, Mapping) else None
            if value not in found:
                found.append(value)
    return "–" if not found else "; ".join(plain(value) for value in found)

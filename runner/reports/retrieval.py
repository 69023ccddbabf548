"""The indexes that passages were searched in."""

from __future__ import annotations

from runner.reports.formats import assigned, fixed, plain, quantity, spaced
from runner.reports.page import Block, Cell, Column, Table
from runner.reports.record import Made, Run, fact

#: Facts that stand elsewhere on the page.
TOLD = ("seconds", "peak_memory", "chunks", "dimension")


def blocks(run: Run) -> list[Block]:
    """Every index with its embedder, its FAISS structure and what was measured."""
    rows, measured = [], dict[str, Column]()
    made_indexes = run.made("index")
    for made in made_indexes:
        for name in made.instance.get("facts") or {}:
            if name not in TOLD:
                measured.setdefault(
                    name, Column(spaced(name.removesuffix("_per_second")), True, "a second" if name.endswith("_per_second") else "")
                )
    for made in made_indexes:
        data = made.json("index.json")
        rows.append(
            [
                Cell(made.label, href=made.link("index.json").href),
                _part(data.get("embedder")),
                _part(data.get("faiss")),
                Cell(f"{data.get('count', 0):,}", sort=data.get("count", 0)),
                Cell(f"{data.get('dimension', 0):,}", sort=data.get("dimension", 0)),
                *(_measured(made, name) for name in measured),
            ]
        )
    if not rows:
        return []
    columns = [
        Column("Index"),
        Column("Embedder", wide=True),
        Column("FAISS", wide=True),
        Column("Passages", True),
        Column("Dimension", True),
        *measured.values(),
    ]
    caption = "Recall at 10 is the share of the ten nearest passages of an exhaustive search that the index finds."
    return [Table(columns, rows, caption if "recall_at_10" in measured else "", sources=[made.link("index.json") for made in made_indexes])]


def _part(settings: object) -> Cell:
    """``hnsw``, and below it its settings without what is off or unset."""
    if not isinstance(settings, dict):
        return Cell(plain(settings))
    left = {name: value for name, value in settings.items() if name != "kind" and value is not None and value is not False}
    return Cell(str(settings.get("kind") or "–"), assigned(left))


def _measured(made: Made, name: str) -> Cell:
    value, unit = fact(made.instance, name)
    if isinstance(value, (int, float)) and name.startswith("recall"):
        return Cell(fixed(value, 3), sort=value)
    return Cell(quantity(value, "" if name.endswith("_per_second") else unit), sort=value if isinstance(value, (int, float)) else -1)

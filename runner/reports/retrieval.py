"""The indexes that passages were searched in."""

from __future__ import annotations

from runner.reports.formats import plain, quantity, spaced
from runner.reports.page import Block, Cell, Column, Table
from runner.reports.record import Run, fact

#: Facts that stand elsewhere on the page.
TOLD = ("seconds", "peak_memory", "chunks", "dimension")


def blocks(run: Run) -> list[Block]:
    """Every index with its embedder, its FAISS structure and what was measured."""
    rows = []
    for made in run.made("index"):
        data = made.json("index.json")
        facts = made.instance.get("facts") or {}
        measured = {spaced(name): quantity(*fact(made.instance, name)) for name in facts if name not in TOLD}
        rows.append(
            [
                Cell(made.label, href=made.link("index.json").href),
                Cell(plain(data.get("embedder"))),
                Cell(plain(data.get("faiss"))),
                Cell(f"{data.get('count', 0):,}", sort=data.get("count", 0)),
                Cell(f"{data.get('dimension', 0):,}", sort=data.get("dimension", 0)),
                Cell(plain(measured)),
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
        Column("Measured", wide=True),
    ]
    return [Table(columns, rows, sources=[made.link("index.json") for made in run.made("index")])]

"""Training and export: loss curves, memory, rates, and what the 4-bit file consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.reports.formats import fixed, number, plain, quantity, size, spaced
from runner.reports.page import Block, Cell, Column, Figures, Fold, Note, Table
from runner.reports.record import Json, Made, Run, fact

#: Facts with a column of their own; all others are listed below the table.
COLUMNS = ("trainable_parameters", "trainable_percent", "tokens_per_second", "peak_memory")
#: Lines in one drawing before it can no longer be read.
LINES = 8


def training(run: Run) -> list[Block]:
    """Every model that has a training log."""
    logs = [(made, list(made.rows("log.jsonl"))) for made in run.made("model") if (made.folder / "log.jsonl").is_file()]
    if not logs:
        return []
    rows = []
    for made, log in logs:
        losses, held_out = _series(log, "loss"), _series(log, "eval_loss")
        rows.append(
            [
                Cell(made.label, made.form, href=made.link("log.jsonl").href),
                Cell(number(max((row.get("step", 0) for row in log), default=0))),
                _fall(losses),
                _fall(held_out) if held_out else _before_and_after(made.instance),
                *(_fact(made.instance, name) for name in COLUMNS),
                Cell(quantity(made.instance.get("seconds"), "seconds") if made.instance.get("seconds") is not None else "–"),
            ]
        )
    columns = [
        Column("Model"),
        Column("Steps", True),
        Column("Training loss", True, "first → last"),
        Column("Held-out loss", True, "first → last"),
        *(Column(spaced(name), True) for name in COLUMNS),
        Column("Time", True),
    ]
    found: list[Block] = [Table(columns, rows)]
    figures = _figures(logs)
    if figures:
        found.append(Figures(figures, [made.link("log.jsonl") for made, _ in logs], wide=True))
    if facts := _other_facts([made for made, _ in logs]):
        found.append(Fold("Everything else that was measured while training", [facts]))
    return found


def _figures(logs: Sequence[tuple[Made, Sequence[Json]]]) -> list[Any]:
    from runner.reports.figures import curves

    names = [name for name in ("loss", "reward") if any(_series(log, name) for _, log in logs)]
    figures = []
    for name in names:
        for first in range(0, len(logs), LINES):
            some, lines = logs[first : first + LINES], []
            for made, log in some:
                for field, held_out in ((name, False), (f"eval_{name}", True)):
                    if points := _series(log, field):
                        lines.append((made.label, [x for x, _ in points], [y for _, y in points], held_out))
            if lines:
                label = "loss, nats a token" if name == "loss" else name
                figures.append(curves(spaced(name if name != "loss" else "training loss"), label, lines))
    return figures


def _series(log: Sequence[Json], name: str) -> list[tuple[float, float]]:
    return [
        (row["step"], row[name]) for row in log if isinstance(row.get(name), (int, float)) and isinstance(row.get("step"), (int, float))
    ]


def _fall(points: Sequence[tuple[float, float]]) -> Cell:
    if not points:
        return Cell("–", tone="quiet", sort=float("inf"))
    first, last = points[0][1], points[-1][1]
    return Cell(f"{fixed(first, 3)} → {fixed(last, 3)}" if len(points) > 1 else fixed(last, 3), sort=last)


def _before_and_after(instance: Json) -> Cell:
    """The held-out loss of a training that measured it just before and after."""
    values = [fact(instance, f"eval_loss_{when}")[0] for when in ("before", "after")]
    return _fall([(position, value) for position, value in enumerate(values) if isinstance(value, (int, float))])


def _fact(instance: Json, name: str) -> Cell:
    value, unit = fact(instance, name)
    if value is None:
        return Cell("–", tone="quiet", sort=-1)
    shown = unit if unit in ("bytes", "seconds", "s", "%", "percent") else ""  # the column's head says the others
    return Cell(quantity(value, shown), sort=value if isinstance(value, (int, float)) else None)


def _other_facts(made: Sequence[Made]) -> Table | None:
    rows = [
        [Cell(item.instance["id"]), Cell(spaced(name)), Cell(quantity(*fact(item.instance, name)))]
        for item in made
        for name in item.instance.get("facts") or {}
        if name not in COLUMNS
    ]
    return Table([Column("Step"), Column("Fact"), Column("Value", True)], rows) if rows else None


def export(run: Run) -> list[Block]:
    """Every GGUF: its size, its bits per weight, and the types of its tensors."""
    found: list[Block] = []
    rows = []
    for made in run.made("model", form="gguf"):
        data = made.json("quantization.json")
        path = made.folder / "model.gguf"
        measured = data.get("file_bytes") or (path.stat().st_size if path.is_file() else 0)
        bits = data.get("bits_per_weight", fact(made.instance, "bits_per_weight")[0])
        fallbacks = data.get("fallbacks") or []
        rows.append(
            [
                Cell(made.label, str(data.get("quantization") or ""), href=made.link("model.gguf").href),
                Cell(size(measured), f"{measured:,} bytes", sort=measured),
                Cell(fixed(bits, 2) if isinstance(bits, (int, float)) else "–", sort=bits if isinstance(bits, (int, float)) else None),
                Cell(_types(data.get("tensors"))),
                Cell(
                    f"{len(fallbacks):,}" if fallbacks else "none",
                    "; ".join(plain(entry) for entry in fallbacks[:5]),
                    tone="bad" if fallbacks else "good",
                ),
            ]
        )
    if rows:
        columns = [
            Column("File"),
            Column("Size", True),
            Column("Bits a weight", True),
            Column("Tensors by type", wide=True),
            Column("Fall-backs", wide=True),
        ]
        found.append(Table(columns, rows, sources=[made.link("quantization.json") for made in run.made("model", form="gguf")]))
        if any(row[4].tone == "bad" for row in rows):
            found.append(Note("Some tensors could not be quantised to the type asked for, and have another one."))
    return found


def _types(types: Any) -> str:
    """``{"Q4_K": {"count": 24, "bytes": 2400000}}`` in words."""
    if not isinstance(types, dict):
        return "–"
    parts = []
    for name, entry in types.items():
        count, held = (entry.get("count"), entry.get("bytes")) if isinstance(entry, dict) else (entry, None)
        parts.append(f"{count} × {name}" + (f" ({size(held)})" if isinstance(held, (int, float)) else ""))
    return ", ".join(parts) or "–"

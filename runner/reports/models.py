"""Training and export: loss curves, memory, rates, and what the 4-bit file consists of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from runner.reports.formats import counted, fixed, number, plain, quantity, size, spaced
from runner.reports.page import Block, Cell, Column, Figures, Fold, Heading, Note, Pairs, Table
from runner.reports.record import Json, Made, Run, fact, facts

#: Facts with a column of their own; all others are listed below the table.
COLUMNS = ("trainable_parameters", "trainable_percent", "tokens_per_second", "peak_memory")
#: Lines in one drawing before it can no longer be read.
LINES = 8
#: Fall-backs listed one by one.
SHOWN = 5


def training(run: Run) -> list[Block]:
    """Every model that has a training log."""
    logs = [(made, list(made.rows("log.jsonl"))) for made in run.made("model") if (made.folder / "log.jsonl").is_file()]
    if not logs:
        return []
    rows = []
    for made, log in logs:
        losses, held_out = _series(log, "loss"), _series(log, "eval_loss")
        trained, percent = (fact(made.instance, name)[0] for name in COLUMNS[:2])
        rows.append(
            [
                Cell(made.label, made.form, href=made.link("log.jsonl").href),
                Cell(number(max((row.get("step", 0) for row in log), default=0))),
                _fall(losses),
                _fall(held_out) if held_out else _before_and_after(made.instance),
                _fact(made.instance, COLUMNS[0], "" if trained is None or percent is None else f"{percent:.2f} % of all"),
                _fact(made.instance, "tokens_per_second"),
                _fact(made.instance, "peak_memory"),
                _fact(made.instance, "seconds"),  # of the execution that made the model, also when this run found it in the store
            ]
        )
    columns = [
        Column("Model"),
        Column("Steps", True),
        Column("Training loss", True, "first → last"),
        Column("Held-out loss", True, "first → last"),
        Column("Trained", True, "parameters"),
        Column("Speed", True, "tokens/s"),
        Column("Peak memory", True),
        Column("Time", True),
    ]
    if all(row[3].text == "–" for row in rows):
        columns.pop(3)
        for row in rows:
            row.pop(3)
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


def _fact(instance: Json, name: str, detail: str = "") -> Cell:
    value, unit = fact(instance, name)
    if value is None:
        return Cell("–", tone="quiet", sort=-1)
    shown = unit if unit in ("bytes", "seconds", "s", "%", "percent") else ""  # the column's head says the others
    return Cell(quantity(value, shown), detail, sort=value if isinstance(value, (int, float)) else None)


def _other_facts(made: Sequence[Made]) -> Table | None:
    rows = [[Cell(item.instance["id"]), Cell("", lines=lines)] for item in made if (lines := facts(item.instance, COLUMNS))]
    return Table([Column("Step"), Column("Facts", wide=True)], rows) if rows else None


def export(run: Run) -> list[Block]:
    """Every GGUF: its size, its bits a weight, and how many of its tensors have which type."""
    found: list[Block] = []
    files = run.made("model", form="gguf")
    for made in files:
        data = made.json("quantization.json")
        path = made.folder / "model.gguf"
        measured = data.get("file_bytes") or (path.stat().st_size if path.is_file() else 0)
        bits = data.get("bits_per_weight", fact(made.instance, "bits_per_weight")[0])
        fallbacks, name = data.get("fallbacks") or [], str(data.get("quantization") or "")
        if len(files) > 1:
            found.append(Heading(made.label))
        found.append(
            Pairs(
                [
                    ("File", Cell(f"{made.label}/model.gguf", href=made.link("model.gguf").href, code=True)),
                    ("Type of the file", Cell(name or "–")),
                    ("Size", Cell(size(measured), f"{measured:,} bytes")),
                    ("Bits a weight", Cell(fixed(bits, 2) if isinstance(bits, (int, float)) else "–", "over all tensors")),
                    ("Fall-backs", Cell(f"{len(fallbacks):,}" if fallbacks else "none", tone="bad" if fallbacks else "good")),
                ]
            )
        )
        if isinstance(tensors := data.get("tensors"), dict) and tensors:
            found.append(_tensors(tensors, data, made))
        if fallbacks:
            items = [_fall_back(entry) for entry in fallbacks[:SHOWN]] + (
                [f"and {len(fallbacks) - SHOWN:,} more"] if len(fallbacks) > SHOWN else []
            )
            found.append(Note(f"These tensors could not have the type that {name or 'the file type'} gives them:", "warn", items))
    return found


def _tensors(tensors: Json, data: Json, made: Made) -> Table:
    """A row for each type of tensor, the one with the most weights first."""
    name, given = str(data.get("quantization") or ""), Counter(str(entry.get("given")) for entry in data.get("fallbacks") or [])
    entries = {kind: entry if isinstance(entry, dict) else {"count": entry} for kind, entry in tensors.items()}
    rows = []
    for kind, entry in sorted(entries.items(), key=lambda item: -(item[1].get("bytes") or 0)):
        count, weights, held = (entry.get(part) for part in ("count", "parameters", "bytes"))
        rows.append(
            [
                Cell(kind),
                Cell("–" if count is None else f"{count:,}", sort=count),
                Cell("–" if weights is None else f"{weights:,}", sort=weights),
                Cell("–" if held is None else size(held), sort=held),
                Cell(fixed(8 * held / weights, 2) if weights and held is not None else "–"),
                Cell(_why_this_type(kind, name, bool(data.get("pure")), given)),
            ]
        )
    columns = [
        Column("Tensor type"),
        *(Column(title, True) for title in ("Tensors", "Weights", "Size", "Bits a weight")),
        Column("Why", wide=True),
    ]
    return Table(columns, rows, sources=[made.link("quantization.json")])


def _why_this_type(kind: str, name: str, pure: bool, given: Counter[str]) -> str:
    """Why a file of type ``name`` has tensors of type ``kind`` (llama.cpp's rules for types that are mixtures)."""
    if given[kind]:
        return f"{counted(given[kind], 'fall-back')}, listed below"
    main = re.sub(r"_[SML]$", "", name)
    if kind == main:
        return "the file's own type"
    if kind == "F32":
        return "norms and other vectors, which are never quantised"
    if pure or not main:
        return ""
    return f"prescribed by {name}, which is a mixture, for the output matrix and some others; no fall-back"


def _fall_back(entry: Json) -> str:
    if {"tensor", "wanted", "given", "columns", "divisor"} <= entry.keys():
        because = f"{entry['columns']:,} columns are not divisible by {entry['divisor']}"
        return f"{entry['tensor']}: {entry['given']} instead of {entry['wanted']}, because {because}"
    return plain(entry)

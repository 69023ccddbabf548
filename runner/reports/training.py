"""Training: what every model cost to train, and its curves over those of the others."""

from __future__ import annotations

from collections.abc import Sequence

from runner.reports.formats import fixed, number, quantity, spaced
from runner.reports.page import Block, Cell, Column, Figure, Figures, Fold, Link, Table
from runner.reports.record import Json, Made, Run, fact, facts

#: Facts with a place in the table; all others are listed below it.
TOLD = ("trainable_parameters", "trainable_percent", "tokens_per_second", "peak_memory", "peak_memory_of", "energy", "best_step", "steps")
#: Trainings in one drawing before it can no longer be read, those whose held-out loss is drawn in it too, and drawings of one value.
LINES, TOGETHER, DRAWINGS = 8, 3, 4
#: Points of a curve that are written out.
SAMPLES = 10

Log = tuple[Made, Sequence[Json]]


def blocks(run: Run) -> list[Block]:
    """Every model that has a training log."""
    logs: list[Log] = [(made, list(made.rows("log.jsonl"))) for made in run.made("model") if (made.folder / "log.jsonl").is_file()]
    if not logs:
        return []
    rows = [_row(run, made, log) for made, log in logs]
    columns = [
        Column("Model", wide=True),
        Column("Steps", True),
        Column("Training loss", True, "first → last"),
        Column("Held-out loss", True, "first → last"),
        Column("Trained", True, "parameters"),
        Column("Speed", True, "tokens/s"),
        Column("Peak memory", True),
        Column("Energy", True),
        Column("Time", True, "of the whole step"),
    ]
    kept = [place for place, column in enumerate(columns) if column.title not in ("Held-out loss", "Energy") or _any(rows, place)]
    of = sorted({str(what) for made, _ in logs if (what := fact(made.instance, "peak_memory_of")[0])})
    caption = f"Peak memory: {' or '.join(of)}." if of else ""
    found: list[Block] = [Table([columns[place] for place in kept], [[row[place] for place in kept] for row in rows], caption)]
    if figures := _figures(run, logs):
        links = [made.link("log.jsonl") for made, _ in logs] if len(logs) <= LINES else [Link("the logs that the table links to")]
        found.append(Figures(figures, links, wide=True))
        found.append(Fold("The curves in figures", [_sampled(run, logs)]))
    if more := _other_facts([made for made, _ in logs]):
        found.append(Fold("Everything else that was measured while training", [more]))
    return found


def _any(rows: Sequence[Sequence[Cell]], place: int) -> bool:
    return any(row[place].text != "–" for row in rows)


def _row(run: Run, made: Made, log: Sequence[Json]) -> list[Cell]:
    losses, held_out, instance = series(log, "loss"), series(log, "eval_loss"), made.instance
    trained, percent = (fact(instance, name)[0] for name in ("trainable_parameters", "trainable_percent"))
    best, energy = fact(instance, "best_step")[0], fact(instance, "energy")[0]
    last = max((row.get("step", 0) for row in log), default=0)
    checkpoints = [name for name, output in (instance.get("outputs") or {}).items() if output.get("type") == "model" and name != made.name]
    about = [made.form, f"checkpoints {', '.join(checkpoints)}" if checkpoints else ""]
    return [
        Cell(named(run, made), "; ".join(part for part in about if part), href=made.link("log.jsonl").href),
        Cell(number(last), "" if best is None else f"kept: {number(best)}", sort=last),
        _fall(losses),
        _fall(held_out) if held_out else _before_and_after(instance),
        _fact(instance, "trainable_parameters", "" if trained is None or percent is None else f"{percent:.2f} % of all"),
        _fact(instance, "tokens_per_second"),
        _fact(instance, "peak_memory"),
        Cell("–", tone="quiet", sort=-1) if energy is None else Cell(quantity(energy / 1000, "kJ"), sort=energy),
        _fact(instance, "seconds"),  # of the execution that made the model, also when this run found it in the store
    ]


def named(run: Run, made: Made) -> str:
    """A training in words: ``qlora · small · 8``."""
    axes = made.instance.get("axes") or {}
    return " · ".join([str(made.instance["step"]), *([run.arm(axes)] if axes else [])])


def _figures(run: Run, logs: Sequence[Log]) -> list[Figure]:
    """Training and held-out values over each other: in one drawing where they are few, else a drawing for each."""
    figures = []
    for name in ("loss", "reward"):
        groups = _groups(run, [log for log in logs if series(log[1], name)])
        for title, chosen in groups[:DRAWINGS]:
            left_out = f"; {len(groups) - DRAWINGS} more drawings are left out" if len(groups) > DRAWINGS else ""
            figures += drawings(name, [(named(run, made), log) for made, log in chosen], title + left_out)
    return figures


def drawings(name: str, logs: Sequence[tuple[str, Sequence[Json]]], caption: str = "", axis: str = "") -> list[Figure]:
    """One value of several logs: what was trained on, and what was held out."""
    from runner.reports.figures.curves import Curve, curves

    axis = axis or ("loss, nats a token" if name == "loss" else name)
    lines, held_out = list[Curve](), list[Curve]()
    for place, (label, log) in enumerate(logs):
        for field, kept in ((name, lines), (f"eval_{name}", held_out)):
            if points := series(log, field):
                kept.append(Curve(label, [step for step, _ in points], [value for _, value in points], place, kept is held_out))
    if len(lines) <= TOGETHER:
        told = [Curve(f"{line.name}, held out", line.steps, line.values, line.series, True) for line in held_out]
        chosen = [(spaced(name), [*lines, *told])]
    else:
        chosen = [(f"Training {name}", lines), (f"Held-out {name}", held_out)]
    return [curves(title, axis, some, caption) for title, some in chosen if any(len(line.steps) > 1 for line in some)]


def _sampled(run: Run, logs: Sequence[Log]) -> Table:
    """What the drawings show, for those who do not see them: some points of every curve, the first and the last among them."""
    names = [name for name in _CURVES if any(series(log, name) for _, log in logs)]
    rows = [
        [Cell(named(run, made), href=made.link("log.jsonl").href), *(Cell(_points(series(log, name))) for name in names)]
        for made, log in logs
    ]
    return Table([Column("Model", wide=True), *(Column(_CURVES[name], detail="step: value", wide=True) for name in names)], rows)


_CURVES = {"loss": "Training loss", "eval_loss": "Held-out loss", "reward": "Training reward", "eval_reward": "Held-out reward"}


def _points(points: Sequence[tuple[float, float]]) -> str:
    chosen = (
        sorted({round(at * (len(points) - 1) / (SAMPLES - 1)) for at in range(SAMPLES)}) if len(points) > SAMPLES else range(len(points))
    )
    return "; ".join(f"{number(points[at][0])}: {fixed(points[at][1], 3)}" for at in chosen) or "–"


def _groups(run: Run, logs: Sequence[Log]) -> list[tuple[str, list[Log]]]:
    """Trainings that belong into one drawing: of one kind of step, and few enough, by the axis that divides them best."""
    found: list[tuple[str, list[Log]]] = []
    kinds: dict[str, list[Log]] = {}
    for made, log in logs:
        kinds.setdefault(str(made.instance.get("kind")), []).append((made, log))
    for kind, some in kinds.items():
        about = f"of step kind {kind}" if len(kinds) > 1 else ""
        if len(some) <= LINES:
            found.append((about, some))
            continue
        choices = []
        for axis in run.axes([made.instance.get("axes") or {} for made, _ in some]):
            parts: dict[str, list[Log]] = {}
            for made, log in some:
                parts.setdefault(str((made.instance.get("axes") or {}).get(axis, "–")), []).append((made, log))
            if max(map(len, parts.values())) <= LINES:
                choices.append((len(parts), axis, parts))
        if choices:
            _, axis, parts = min(choices, key=lambda choice: choice[0])
            found += [(f"{axis} {label}", part) for label, part in parts.items()]
        else:
            for first in range(0, len(some), LINES):
                part = some[first : first + LINES]
                found.append((f"trainings {first + 1} to {first + len(part)} of {len(some)}, in the order of the table", part))
    return found


def series(log: Sequence[Json], name: str) -> list[tuple[float, float]]:
    """``(step, value)`` of a log's rows that have both."""
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
    rows = [[Cell(item.instance["id"]), Cell("", lines=lines)] for item in made if (lines := facts(item.instance, TOLD))]
    return Table([Column("Step"), Column("Facts", wide=True)], rows) if rows else None

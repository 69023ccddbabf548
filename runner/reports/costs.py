"""What each arm costs: its measures in a table, and its scores against them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

from runner.reports.arms import Took, is_scored, spread
from runner.reports.formats import duration, moment, number, quantity, size
from runner.reports.page import Block, Cell, Column, Figure, Figures, Fold, Heading, Link, Table
from runner.reports.record import Json, Run

#: Arms in one drawing before it can no longer be read, groups that colours tell apart, and rows of an open table.
POINTS, GROUPS, OPEN = 60, 8, 20


@dataclass(frozen=True)
class Measure:
    """A column: where its value stands in :class:`Took`, its title, and how a value is written, with a smaller line below."""

    name: str
    title: str
    unit: str
    written: Callable[[float], str]
    detail: Callable[[Took], str] = lambda cost: ""
    against: str = ""  # the axis's title where scores are drawn against it; what is not drawn has none


def _spread(cost: Took) -> str:
    """The interval of the mean, and the percentiles of single answers."""
    interval = "" if cost.seconds_low is None or cost.seconds_high is None else f"{moment(cost.seconds_low)} to {moment(cost.seconds_high)}"
    single = ", ".join(f"{name} {moment(at)}" for name, at in (("p50", cost.seconds_p50), ("p95", cost.seconds_p95)) if at is not None)
    return "\n".join(part for part in (interval, single) if part)


def _tokens(cost: Took) -> str:
    return "" if cost.prompt_tokens is None else f"{number(round(cost.prompt_tokens, 1))} in the prompt"


def _percent(cost: Took) -> str:
    return "" if cost.trained_percent is None else f"{cost.trained_percent:.2f} % of all"


MEASURES = (
    Measure("seconds", "An answer", "time", moment, _spread, "time of an answer"),
    Measure("answer_tokens", "Tokens", "of an answer", lambda value: number(round(value, 1)), _tokens),
    Measure("model_bytes", "Weights", "on disk", size, against="weights on disk"),
    Measure("answering_memory", "Memory", "answering, peak", size, against="peak memory of answering"),
    Measure("trained_parameters", "Trained", "parameters", lambda value: number(int(value)), _percent),
    Measure("training_rate", "Training", "tokens/s", lambda value: number(round(value))),
    Measure("training_memory", "Memory", "training, peak", size, against="peak memory of training"),
    Measure("training_seconds", "Training", "time", duration),
    Measure("training_energy", "Energy", "training", lambda value: quantity(value / 1000, "kJ")),
    Measure("money", "Money", "teachers, all steps", lambda value: f"{value:,.4g}", against="money spent on teachers"),
)
_UNITS = {"bytes": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0)), "seconds": (("s", 1.0), ("ms", 1e-3))}


def blocks(
    run: Run,
    arms: Sequence[Json],
    costs: Sequence[Took],
    axes: Sequence[str],
    metrics: Sequence[Json],
    places: Mapping[str, int],
    baseline: Mapping[str, str] | None,
    sources: Sequence[Link],
) -> list[Block]:
    """The arms' measures, then scores against those of them in which arms differ; nothing where nothing was measured."""
    shown = [measure for measure in MEASURES if any(getattr(cost, measure.name) is not None for cost in costs)]
    if not shown:
        return []
    rows = [
        [*(Cell(str(arm["axes"].get(axis, "–"))) for axis in axes), *(_cell(cost, measure) for measure in shown)]
        for arm, cost in zip(arms, costs, strict=True)
    ]
    columns = [*(Column(axis) for axis in axes), *(Column(measure.title, True, measure.unit) for measure in shown)]
    found: list[Block] = [Heading("What the arms cost")]
    figures = [_figures(run, metric, arms, costs, places, baseline) for metric in metrics]
    if figures and figures[0]:
        found.append(Figures(figures[0], sources, wide=True))
        if more := [figure for others in figures[1:] for figure in others]:
            found.append(Fold("Other scores against cost", [Figures(more, sources, wide=True)]))
    table = Table(columns, rows, _caption({measure.name for measure in shown}, costs), sources)
    return [*found, table if len(arms) <= OPEN else Fold(f"The measures of all {len(arms)} arms", [table])]


def _caption(names: Set[str], costs: Sequence[Took]) -> str:
    parts = ["Time and tokens are means of an answer, with those of its summaries; time is that of a batch, divided by its answers, "]
    parts[0] += "on the machine that made them."
    if "model_bytes" in names:
        parts.append("Weights are all that answering reads: of an adapter, its base's too.")
    if names & {"trained_parameters", "training_memory"}:
        parts.append(
            "Training is the last one behind the arm's model; time, without loading and saving, and energy are those of all of them."
        )
    for what in ("answering", "training"):
        if of := sorted({told for cost in costs if (told := getattr(cost, f"{what}_memory_of"))}):
            parts.append(f"Peak memory of {what}: {' or '.join(of)}.")
    if "money" in names:
        parts.append("Money is what teachers cost in every step that the arm rests on, shared steps included.")
    return " ".join(parts)


def _cell(cost: Took, measure: Measure) -> Cell:
    value = getattr(cost, measure.name)
    return Cell("–", tone="quiet", sort=-1) if value is None else Cell(measure.written(value), measure.detail(cost), sort=value)


def _figures(
    run: Run, metric: Json, arms: Sequence[Json], costs: Sequence[Took], places: Mapping[str, int], baseline: Mapping[str, str] | None
) -> list[Figure]:
    """The metric against every measure in which the arms differ."""
    from runner.reports.figures.tradeoff import Point, tradeoff

    name, title = metric["name"], str(metric.get("title") or metric["name"])
    grouped_by = _grouping(run, arms)
    groups = list(dict.fromkeys(str(arm["axes"].get(grouped_by, "–")) for arm in arms))
    figures = []
    for measure in MEASURES:
        known = [
            (arm, float(getattr(cost, measure.name)))
            for arm, cost in zip(arms, costs, strict=True)
            if getattr(cost, measure.name) is not None and is_scored(arm, name)
        ]
        if not measure.against or len({cost for _, cost in known}) < 2 or len(known) > POINTS:
            continue
        unit, factor = _unit("bytes" if measure.written is size else "seconds" if measure.name == "seconds" else "", known)
        points = [
            Point(
                run.arm(arm["axes"]),
                groups.index(str(arm["axes"].get(grouped_by, "–"))),
                cost / factor,
                *spread(arm, name),
                arm["axes"] == baseline,
            )
            for arm, cost in known
        ]
        notes = [f"signs by {grouped_by}" if grouped_by else "", "hollow: the baseline" if any(point.reference for point in points) else ""]
        if len(known) < len(arms):
            notes.append(f"{len(arms) - len(known)} arms without this measure are not shown")
        figures.append(
            tradeoff(
                f"{title} against {measure.against}",
                f"{measure.against}, {unit}" if unit else measure.against,
                title,
                points,
                groups,
                places[name],
                higher_is_better=bool(metric.get("higher_is_better", True)),
                caption="; ".join(note for note in notes if note),
            )
        )
    return figures


def _grouping(run: Run, arms: Sequence[Json]) -> str:
    """The first axis whose labels differ and are few enough for colours."""
    for axis in run.axes([arm["axes"] for arm in arms]):
        if 1 < len({arm["axes"].get(axis, "–") for arm in arms}) <= GROUPS:
            return axis
    return ""


def _unit(kind: str, known: Sequence[tuple[Json, float]]) -> tuple[str, float]:
    largest = max(cost for _, cost in known)
    return next(((unit, factor) for unit, factor in _UNITS.get(kind, ()) if largest >= factor), ("", 1.0))

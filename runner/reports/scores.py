"""The result: the arms' scores with intervals, and their differences to the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.reports import arms as arms_of
from runner.reports import best, comparisons, costs, factors
from runner.reports.formats import counted, fixed, interval, p_value, places_for, plain, quantity, signed, spaced
from runner.reports.page import Block, Cell, Column, Figure, Figures, Fold, Heading, Link, Note, Pairs, Paragraph, Table
from runner.reports.record import Json, Made, Run, fact

_STATISTICS = {"samples": "Draws", "interval": "Intervals", "p": "p values", "p_adjusted": "Correction of p values"}
#: Facts that say at a glance what a run without scores has measured.
GLANCE = ("file_bytes", "bits_per_weight", "tokens_per_second", "trainable_parameters")
#: As many of them as a glance takes in; all stand with the steps.
GLANCES = 12

#: Arms in one drawing before it can no longer be read, and arms from which on only the first metrics' drawings are open.
BARS, MANY = 20, 12


def blocks(run: Run) -> list[Block]:
    """The scores of every evaluation of the run; what else was measured when there is none."""
    made = run.made("scores")
    if not made:
        return _without_scores(run)
    found: list[Block] = []
    for scores in made:
        if len(made) > 1:
            found.append(Heading(scores.label))
        found.extend(_one(run, scores))
    return found


def _without_scores(run: Run) -> list[Block]:
    facts = [
        (f"{spaced(name)}, {instance['id']}", Cell(quantity(*fact(instance, name))))
        for instance in run.instances
        for name in GLANCE
        if fact(instance, name)[0] is not None
    ]
    words = {"done": "No arm was scored in this run.", "running": "No arm has been scored yet."}
    text = words.get(str(run.record.get("status")), "This run ended before any arm was scored.")
    return [Paragraph(text), *([Pairs(facts[:GLANCES])] if facts else [])]


def _one(run: Run, made: Made) -> list[Block]:
    scores = made.json("scores.json")
    metrics: Sequence[Json] = scores.get("metrics") or []
    arms: Sequence[Json] = scores.get("arms") or []
    if not metrics or not arms:
        return [Note(f"{made.label}/scores.json holds no scores.", "bad")]
    axes = run.axes([arm["axes"] for arm in arms])
    places = {
        metric["name"]: places_for([arm["values"][metric["name"]]["mean"] for arm in arms if metric["name"] in arm["values"]], unit)
        for metric in metrics
        for unit in [str(metric.get("unit", ""))]
    }
    source = made.link("scores.json")
    found: list[Block] = []
    if missing := scores.get("missing_arms"):
        found.append(Note("These arms failed and are missing from the comparison:", "bad", [str(arm) for arm in missing]))
    took = arms_of.took(run, made, arms)
    drawn = [metric for metric in metrics if any((arm["values"].get(metric["name"]) or {}).get("mean") for arm in arms)]
    found += best.blocks(run, made, scores, drawn, places, took)
    found += _bars(run, metrics, drawn, arms, scores.get("baseline"), places, source)
    table = Table(
        [*(Column(axis) for axis in axes), *(_column(metric) for metric in metrics)],
        [_arm_row(arm, axes, metrics, places, scores) for arm in arms],
        caption=_caption(run, scores),
        sources=[source],
    )
    found.append(table if len(arms) <= BARS else Fold(f"The scores of all {len(arms)} arms", [table]))
    if scores.get("paired") and drawn:
        found.append(Fold(f"Differences to the baseline, {run.arm(scores['baseline'] or {})}", _paired(scores, axes, drawn, places, made)))
    found += comparisons.not_comparable(run, scores)
    found += factors.blocks(run, scores, axes, metrics, drawn, places, source)
    found += costs.blocks(run, arms, took, axes, drawn, places, scores.get("baseline"), [source, Link("the steps' facts", "#steps")])
    found += comparisons.breakdowns(scores, axes, metrics, places, source)
    found += comparisons.judging(scores)
    found.append(Fold("How each metric is computed", _definitions(scores)))
    return found


def _bars(
    run: Run,
    metrics: Sequence[Json],
    drawn: Sequence[Json],
    arms: Sequence[Json],
    baseline: Json | None,
    places: Mapping[str, int],
    source: Link,
) -> list[Block]:
    """The arms in each metric; nothing where there is one arm. Those of many metrics are open for the first ones alone."""
    found: list[Block] = []
    if zero := [str(metric.get("title") or metric["name"]) for metric in metrics if metric not in drawn]:
        found.append(Paragraph(f"Every arm has 0 in {', '.join(zero)}; there is nothing to draw.", "quiet"))
    figures = [
        _bars_of(run, metric, arms, baseline, places[metric["name"]])
        for metric in drawn
        if sum(arms_of.is_scored(arm, metric["name"]) for arm in arms) > 1
    ]
    at_once = 2 if len(arms) > MANY else len(figures)
    if figures:
        found.insert(0, Figures(figures[:at_once], [source], wide=True))
    if figures[at_once:]:
        found.append(Fold("The arms in the other metrics", [Figures(figures[at_once:], [source], wide=True)]))
    return found


def _bars_of(run: Run, metric: Json, arms: Sequence[Json], baseline: Json | None, places: int) -> Figure:
    from runner.reports.figures.bars import Bar, bars

    name, higher = metric["name"], bool(metric.get("higher_is_better", True))
    scored, unit = [arm for arm in arms if arms_of.is_scored(arm, name)], str(metric.get("unit") or "")
    caption = "higher is better" if higher else "lower is better"
    if len(scored) > BARS:
        order = sorted(scored, key=lambda arm: -arm["values"][name]["mean"] if higher else arm["values"][name]["mean"])
        kept = order[:BARS] + [arm for arm in order[BARS:] if arm["axes"] == baseline]
        caption += f"; the best {BARS} of {len(scored)} arms" + (" and the baseline" if len(kept) > BARS else "")
        scored = kept
    rows = [Bar(run.arm(arm["axes"]), *arms_of.spread(arm, name), arm["axes"] == baseline) for arm in scored]
    title = str(metric.get("title") or name)
    return bars(title, f"{title}, {unit}" if unit else title, rows, places, from_zero=unit.startswith("of "), caption=caption)


def _column(metric: Json) -> Column:
    return Column(
        metric.get("title") or metric["name"], True, "higher is better" if metric.get("higher_is_better", True) else "lower is better"
    )


def _arm_row(arm: Json, axes: Sequence[str], metrics: Sequence[Json], places: Mapping[str, int], scores: Json) -> list[Cell]:
    baseline = arm["axes"] == scores.get("baseline")
    row = [Cell(str(arm["axes"].get(axis, "–")), "baseline" if baseline and position == 0 else "") for position, axis in enumerate(axes)]
    for metric in metrics:
        value = arm["values"].get(metric["name"])
        if value is None or value.get("mean") is None:
            row.append(Cell("–", tone="quiet", sort=float("-inf")))
            continue
        digits = places[metric["name"]]
        sign, tone = _verdict(arm["axes"], metric, scores)
        row.append(
            Cell(sign + fixed(value["mean"], digits), interval(value.get("low"), value.get("high"), digits), sort=value["mean"], tone=tone)
        )
    return row


def _verdict(axes: Json, metric: Json, scores: Json) -> tuple[str, Any]:
    """A sign when the paired interval of the difference to the baseline excludes zero."""
    for pair in scores.get("paired") or []:
        if pair["metric"] == metric["name"] and pair["arm"] == axes:
            return _sign(pair, metric)
    return "", ""


def _sign(pair: Json, metric: Json) -> tuple[str, Any]:
    low, high = pair.get("low"), pair.get("high")
    if low is None or high is None or low <= 0 <= high:
        return "", ""
    better = (low > 0) == bool(metric.get("higher_is_better", True))
    return ("▲ ", "good") if better else ("▼ ", "bad")


def _caption(run: Run, scores: Json) -> str:
    how = scores.get("bootstrap") or {}
    text = f"Over the {counted(scores.get('items', 0), 'item')} that every arm answered"
    if left_out := (scores.get("left_out") or {}).get("items"):
        text += f" ({left_out:,} others left out)"
    text += f"; small figures are {how.get('confidence', 0.95) * 100:g} % bootstrap intervals"
    text += f" ({how['samples']:,} draws). " if how.get("samples") else ". "
    if any(metric.get("unit") == "of 100" for metric in scores["metrics"]):
        text += "Text metrics run from 0 to 100. "
    if scores.get("paired"):
        baseline = run.arm(scores["baseline"] or {})
        text += f"▲ better, ▼ worse than the baseline ({baseline}): the interval of the paired difference excludes zero. "
        text += "Intervals are not corrected for the number of arms; the p values under Differences are."
    return text


def _paired(scores: Json, axes: Sequence[str], metrics: Sequence[Json], places: Mapping[str, int], made: Made) -> list[Block]:
    arms = list({tuple(sorted(pair["arm"].items())): pair["arm"] for pair in scores["paired"]}.values())
    found = {(pair["metric"], tuple(sorted(pair["arm"].items()))): pair for pair in scores["paired"]}
    rows = []
    for arm in arms:
        row = [Cell(str(arm.get(axis, "–"))) for axis in axes]
        for metric in metrics:
            pair = found.get((metric["name"], tuple(sorted(arm.items()))))
            row.append(Cell("–", tone="quiet") if pair is None else _difference(pair, metric, places[metric["name"]]))
        rows.append(row)
    caption = "Arm minus baseline on the same items; below it the interval, the p value (Holm's correction), "
    caption += "and on how many items the arm was better, equal and worse. ▲ and ▼ go by the intervals before rounding."
    return [Table([*(Column(axis) for axis in axes), *(_column(metric) for metric in metrics)], rows, caption, [made.link("scores.json")])]


def _difference(pair: Json, metric: Json, digits: int) -> Cell:
    sign, tone = _sign(pair, metric)
    p = pair.get("p_adjusted", pair.get("p"))
    parts = [interval(pair.get("low"), pair.get("high"), digits), "" if p is None else p_value(p)]
    if "better" in pair:
        parts.append(f"{pair['better']} / {pair.get('ties', 0)} / {pair.get('worse', 0)}")
    return Cell(sign + signed(pair["difference"], digits), "\n".join(part for part in parts if part), sort=pair["difference"], tone=tone)


def _definitions(scores: Json) -> list[Block]:
    metrics: Sequence[Json] = scores.get("metrics") or []
    columns = [Column("Metric"), Column("Version", True), Column("Normalisation", wide=True), Column("Source", wide=True)]
    rows = [
        [
            Cell(str(metric.get("title", "")), metric["name"]),
            Cell(str(metric.get("version", ""))),
            Cell(str(metric.get("normalisation") or "–")),
            Cell(str(metric.get("source") or "–")),
        ]
        for metric in metrics
    ]
    how = [[Cell(_STATISTICS.get(name, spaced(name))), Cell(plain(value))] for name, value in (scores.get("bootstrap") or {}).items()]
    return [Table(columns, rows), *([Table([Column("Statistics"), Column("How", wide=True)], how)] if how else [])]

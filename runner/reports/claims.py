"""What the source claims and what this run found; what the project requires of every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.reports.formats import arms_together, counted, fixed, interval, p_value, places_for, quantity, spaced
from runner.reports.page import Block, Cell, Column, Heading, Paragraph, Table, Tone
from runner.reports.record import Run

if TYPE_CHECKING:
    from runner.evaluation.claims import Verdict
    from runner.evaluation.measured import Measured

_TONES: dict[str, Tone] = {
    "reproduced": "good",
    "holds": "good",
    "not reproduced": "bad",
    "does not hold": "bad",
    "inconclusive": "warn",
}
_ASKED = {"greater than": "Should be above", "less than": "Should be below", "equal to": "Should equal", "": "Against"}


def blocks(run: Run) -> list[Block]:
    """Verdicts on ``claims`` and ``checks``; nothing when the recipe has neither."""
    claims, checks = list(run.record.get("claims") or []), list(run.record.get("checks") or [])
    if not claims and not checks:
        return []
    from runner.evaluation.claims import answer_checks, answer_claims

    record = dict(run.record)
    found: list[Block] = []
    if claims:
        verdicts = answer_claims(claims, record, run.artifacts)
        if any(verdict.verdict == "not comparable" for verdict in verdicts):
            found.append(Paragraph("An overlay changed this run, so it cannot answer what the source claims. What it measured is shown."))
        found.append(_table(run, verdicts, "Claim of the source"))
    if checks:
        if claims:
            found.append(Heading("Requirements of this project"))
        found.append(Paragraph("These must hold in every run, also in one that an overlay has changed."))
        found.append(_table(run, answer_checks(checks, record, run.artifacts), "Requirement"))
    return found


def _table(run: Run, verdicts: Sequence[Verdict], title: str) -> Table:
    columns = [Column(title, wide=True), Column("Verdict"), Column("Finding", wide=True)]
    return Table(
        columns,
        [
            [
                Cell(verdict.says, f"stated in {verdict.where}" if verdict.where else ""),
                Cell(verdict.verdict, tone=_TONES.get(verdict.verdict, "quiet"), badge=True),
                Cell("", lines=_finding(run, verdict)),
            ]
            for verdict in verdicts
        ],
    )


def _finding(run: Run, verdict: Verdict) -> list[tuple[str, str]]:
    """The figure, what it was compared with, and the difference, a line each."""
    lines = [("Why", arms_together(verdict.reason))] if verdict.reason else []
    measured, against, difference = verdict.measured, verdict.against, verdict.difference
    if measured is None:
        return lines
    places = places_for([measured.value, *([against.value] if against else [])], measured.unit)
    lines += [("Metric" if measured.scores else "Fact", _name(measured)), ("Measured", _figure(run, measured, places))]
    if against is None:
        return lines
    allowed = f", give or take {_value(measured, verdict.tolerance, places)}" if verdict.tolerance else ""
    allowed += f", with a margin of {_value(measured, verdict.margin, places)}" if verdict.margin else ""
    lines.append((_ASKED[verdict.relation], _figure(run, against, places, measured) + allowed))
    if difference is not None:
        paired, text = difference.p is not None, _value(measured, difference.value, places)
        if difference.low != difference.high:
            low, high = difference.low, difference.high
            edge = verdict.margin if verdict.relation == "less than" else -verdict.margin
            named = _value(measured, edge, places) if edge else "zero"
            where = f"all above {named}" if low > edge else f"all below {named}" if high < edge else f"includes {named}"
            text += f" ({interval(low, high, places)}; {where})"
        if difference.p is not None:
            text += f", {counted(difference.items, 'item')}, {p_value(difference.p)}"
        lines.append(("Paired difference" if paired else "Difference", text))
    return lines


def _name(measured: Measured) -> str:
    """The metric's title with its unit, or the fact's name."""
    title = str(measured.scores.metric(measured.name).get("title") or measured.name) if measured.scores else spaced(measured.name)
    unit = "" if measured.unit in ("bytes", "s", "seconds", "%", "") else f", {measured.unit}"
    return title + unit


def _figure(run: Run, measured: Measured, places: int, like: Measured | None = None) -> str:
    """A value, its interval and its arm. A plain number is shown in the unit of ``like``."""
    text = _value(measured if measured.name or like is None else like, measured.value, places)
    if between := interval(measured.low, measured.high, places):
        text += f" ({between})"
    if not measured.name:
        return text
    if like is not None and (measured.name, measured.unit) != (like.name, like.unit):
        text = f"{_name(measured)} {text}"
    return f"{text}, {run.arm(measured.axes) if measured.axes or measured.scores else measured.step}"


def _value(measured: Measured, value: float, places: int) -> str:
    """A value of a metric in its decimals, one of a fact as facts are shown."""
    if measured.scores:
        return fixed(value, places)
    text = quantity(
        abs(int(value) if value.is_integer() else value), measured.unit if measured.unit in ("bytes", "s", "seconds", "%") else ""
    )
    return f"−{text}" if value < 0 else text

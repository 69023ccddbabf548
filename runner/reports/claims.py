"""What the source claims and what this run found; what the project requires of every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.reports.formats import arms_together
from runner.reports.page import Block, Cell, Column, Heading, Paragraph, Table, Tone
from runner.reports.record import Run

_TONES: dict[str, Tone] = {
    "reproduced": "good",
    "holds": "good",
    "not reproduced": "bad",
    "does not hold": "bad",
    "inconclusive": "warn",
}


def blocks(run: Run) -> list[Block]:
    """Verdicts on ``claims`` and ``checks``; nothing when the recipe has neither."""
    claims, checks = list(run.record.get("claims") or []), list(run.record.get("checks") or [])
    if not claims and not checks:
        return []
    from runner.evaluation.claims import answer_checks, answer_claims

    record = dict(run.record)
    found: list[Block] = []
    if claims:
        found.append(_table(answer_claims(claims, record, run.artifacts), "Claim of the source"))
    if checks:
        if claims:
            found.append(Heading("Requirements of this project"))
        found.append(Paragraph("These must hold in every run, also in one that an overlay has changed."))
        found.append(_table(answer_checks(checks, record, run.artifacts), "Requirement"))
    return found


def _table(verdicts: Sequence[Any], title: str) -> Table:
    columns = [Column(title, wide=True), Column("Verdict"), Column("Finding", wide=True)]
    return Table(
        columns,
        [
            [
                Cell(verdict.says, verdict.where or ""),
                Cell(verdict.verdict, tone=_tone(verdict.verdict), badge=True),
                Cell(arms_together(verdict.detail)),
            ]
            for verdict in verdicts
        ],
    )


def _tone(verdict: str) -> Tone:
    return _TONES.get(verdict, "quiet")

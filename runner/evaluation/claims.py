"""Answer a recipe's claims and checks from what a run left: ``run.json`` and the artifacts. Imports nothing heavy until it must compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from runner.evaluation.measured import Difference, Measured, Reader, Unmeasured, number

Relation = Literal["greater than", "less than", "equal to", ""]
Answer = Literal["reproduced", "not reproduced", "inconclusive", "not measured", "not comparable", "holds", "does not hold"]


_RELATIONS: Mapping[str, Relation] = {"greater_than": "greater than", "less_than": "less than", "equals": "equal to"}


@dataclass(frozen=True)
class Verdict:
    """A claim or check, its verdict, and the finding in words, and in parts: ``measured`` should be ``relation`` to ``against``.

    ``tolerance`` belongs to *equal to*; ``margin`` to the others, which hold too where ``measured`` misses ``against`` by less than it.
    ``reason`` says why something was not measured. Parts that were not come to are None.
    """

    says: str
    where: str
    verdict: Answer
    detail: str
    measured: Measured | None = None
    against: Measured | None = None
    relation: Relation = ""
    tolerance: float = 0.0
    difference: Difference | None = None
    reason: str = ""
    margin: float = 0.0


def answer_claims(claims: Sequence[Mapping[str, Any]], run_record: Mapping[str, Any], artifacts_folder: Path) -> list[Verdict]:
    """A verdict for every claim of the source.

    *reproduced* and *not reproduced* need the interval to lie wholly on one side, *inconclusive* is in between; facts have
    no interval and compare plainly. In a run with an overlay a claim is *not comparable*, with what was measured anyway.
    """
    reader = Reader(run_record, artifacts_folder)
    overlays = [str(overlay) for overlay in run_record.get("overlays") or ()]
    verdicts = [_answer(claim, reader) for claim in claims]
    if not overlays:
        return verdicts
    changed = f"an overlay changed this run ({', '.join(overlays)})"
    return [
        verdict
        if verdict.verdict == "not measured"
        else replace(verdict, verdict="not comparable", detail=f"{changed}; measured anyway: {verdict.detail}")
        for verdict in verdicts
    ]


def answer_checks(checks: Sequence[Mapping[str, Any]], run_record: Mapping[str, Any], artifacts_folder: Path) -> list[Verdict]:
    """A verdict for every requirement of the project, overlays or not: holds, does not hold, not measured.

    A check whose interval does not lie wholly on the required side does not hold.
    """
    reader = Reader(run_record, artifacts_folder)
    words: dict[Answer, Answer] = {"reproduced": "holds", "not reproduced": "does not hold", "inconclusive": "does not hold"}
    return [
        replace(verdict, verdict=words.get(verdict.verdict, verdict.verdict)) for verdict in (_answer(check, reader) for check in checks)
    ]


def _answer(claim: Mapping[str, Any], reader: Reader) -> Verdict:
    says, where = str(claim.get("says", "")), str(claim.get("where") or "")
    asked, wanted = next((name, claim[name]) for name in _RELATIONS if claim.get(name) is not None)
    relation, measured, against = _RELATIONS[asked], None, None
    try:
        measured = reader.read(claim["measure"])
        against = reader.target(wanted)
        difference = reader.difference(measured, against)
    except Unmeasured as reason:
        found = f" ({measured})" if measured else ""
        return Verdict(says, where, "not measured", f"{reason}{found}", measured, against, relation, reason=str(reason))
    tolerance, margin, allowed, words = 0.0, float(claim.get("margin") or 0), "", str(relation)
    low, high = difference.low, difference.high
    if relation == "equal to":
        tolerance = float(wanted.get("tolerance") or 0)
        verdict, words = _equal(low, high, tolerance), f"within {number(tolerance)} of"
    else:
        verdict = _above(low + margin, high + margin) if relation == "greater than" else _above(margin - high, margin - low)
        allowed = f", with a margin of {number(margin)}" if margin else ""
    detail = f"{measured}; asked: {words} {against}{allowed}; {difference.words}"
    return Verdict(says, where, verdict, detail, measured, against, relation, tolerance, difference, margin=margin)


def _above(low: float, high: float) -> Answer:
    """Of a difference that should be above zero."""
    if low > 0:
        return "reproduced"
    return "not reproduced" if high < 0 or low == high else "inconclusive"


def _equal(low: float, high: float, tolerance: float) -> Answer:
    """Of a difference that should be within ``tolerance`` of zero; a breath more, for decimals that binary cannot hold."""
    tolerance += 1e-9 * max(1.0, abs(low), abs(high))
    if -tolerance <= low and high <= tolerance:
        return "reproduced"
    return "not reproduced" if high < -tolerance or low > tolerance else "inconclusive"

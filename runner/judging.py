"""A teacher as the judge of answers: a score by a rubric, or which of two answers is better, asked in both orders.

The verdicts are put into the rows of the arms, where the metrics ``judge``, ``win_rate`` and ``length_adjusted_win_rate`` read them:

    with open_caller(teacher, ctx) as caller:
        verdicts = Verdicts()
        aligned = by_rubric(align(arms), caller, template, verdicts)
        scored = score(aligned, ["judge"])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import TYPE_CHECKING, Any

from runner.datasets.conversations import told
from runner.evaluation.arms import Aligned, Arm, Axes, label
from runner.teachers.interface import Request
from runner.teachers.prompting import Prompt, mark
from runner.teachers.tasks import Compare, Grade, Preference, Score

if TYPE_CHECKING:
    from runner.teachers.calls import Caller, Outcome

Row = Mapping[str, Any]
_FEW_PAIRS = 10  # with fewer, chance alone may turn most verdicts round


@dataclass
class Verdicts:
    """What judges said, and what they did not: ``rows`` of ``judgements.jsonl``; of ``asked`` questions to the judge ``failed`` got no
    valid verdict, the first of them for the reason ``failure``. Of ``pairs`` compared in both orders, ``consistent`` got the same verdict
    twice; of the ``decided`` verdicts, those that are no tie, ``first`` went to the answer that stood first.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    failed: int = 0
    failure: str = ""
    pairs: int = 0
    consistent: int = 0
    decided: int = 0
    first: int = 0

    @property
    def warnings(self) -> list[str]:
        """What belongs in the report: requests without a verdict, and a judge whose verdicts changed with the order in most pairs."""
        found = []
        if self.failed:
            found.append(f"{self.failed} of {self.asked} requests to the judge got no verdict, and their items no score: {self.failure}")
        if self.pairs >= _FEW_PAIRS and 2 * self.consistent < self.pairs:
            found.append(
                f"the judge gave the same verdict in both orders for only {self.consistent} of {self.pairs} pairs; of {self.decided} "
                f"verdicts that were no tie, {self.first} went to what stood first: the win rate says more about order than about answers"
            )
        return found

    def taken(self, outcome: Outcome) -> Any:
        """The verdict of an outcome; None where it was rejected."""
        self.asked += 1
        if outcome.rejected is None:
            return outcome.items[0]
        self.failed += 1
        self.failure = self.failure or f"{outcome.request.id}: {outcome.rejected}"
        return None


def by_rubric(
    aligned: Aligned,
    caller: Caller,
    template: Prompt,
    verdicts: Verdicts,
    *,
    attempts: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Aligned:
    """Have every answer scored from 1 to 5; the rows get ``judge_score``, None where no verdict was valid.

    The template sees question, answer, reference (may be empty), passages (texts, may be none) and mark.
    """

    def request(arm: Arm, row: Row) -> Request:
        passages = [passage["text"] for passage in row.get("retrieved") or () if "text" in passage]
        shown = {"question": told(row), "answer": row["answer"], "reference": row["reference"]}
        prompt = template.render(**shown, passages=passages, mark=mark(*shown.values(), *passages))
        return Request(_name(arm, row), prompt, Grade(shown["question"], row["answer"], row["reference"] or "\n\n".join(passages)))

    places = [(arm, row) for arm in aligned.arms for row in arm.rows]
    found: list[dict[str, Any]] = []
    for (arm, row), outcome in zip(places, caller.ask_all((request(arm, row) for arm, row in places), attempts=attempts), strict=True):
        verdict = verdicts.taken(outcome)
        assert verdict is None or isinstance(verdict, Score)
        found.append({"judge_score": None if verdict is None else verdict.score})
        if verdict is not None:
            verdicts.rows.append(
                {"metric": "judge", "axes": dict(arm.axes), "id": row["id"], "score": verdict.score, "reason": verdict.reason}
            )
        progress(len(found), len(places))
    return _with(aligned, found)


def by_comparison(
    aligned: Aligned,
    caller: Caller,
    template: Prompt,
    verdicts: Verdicts,
    *,
    opponent: Axes | None,
    attempts: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Aligned:
    """Have every answer compared with that of the arm ``opponent``, or with the reference where that is None, in both orders.

    The rows get ``preference`` (the share of the two verdicts for the answer; a tie counts half; None where one was not valid) and
    ``opponent_length`` in characters. Equal texts are a tie, and nobody is asked. The template sees question, first, second,
    reference (empty where that is the opponent, or where there is none) and mark.
    """
    rival = None if opponent is None else next(arm for arm in aligned.arms if dict(arm.axes) == dict(opponent))
    places = [
        (arm, row, str(row["reference"]) if rival is None else str(rival.rows[at]["answer"]))
        for arm in aligned.arms
        for at, row in enumerate(arm.rows)
    ]
    asked = [bool(other or rival is not None) and row["answer"] != other for _, row, other in places]

    def requests() -> Iterator[Request]:
        for arm, row, other in compress(places, asked):
            for number, (first, second) in enumerate(((row["answer"], other), (other, row["answer"])), 1):
                reference = "" if rival is None else row["reference"]
                shown = {"question": told(row), "first": first, "second": second, "reference": reference}
                prompt = template.render(**shown, mark=mark(*shown.values()))
                yield Request(f"{_name(arm, row)}, order {number}", prompt, Compare(shown["question"], first, second, reference))

    outcomes, said = caller.ask_all(requests(), attempts=attempts), 0
    found: list[dict[str, Any]] = []
    for (arm, row, other), open_ in zip(places, asked, strict=True):
        preference = 0.5 if other or rival is not None else None
        if open_:
            preference = _preference(arm, row, verdicts.taken(next(outcomes)), verdicts.taken(next(outcomes)), verdicts)
            said += 2
            progress(said, 2 * sum(asked))
        found.append({"preference": preference, "opponent_length": len(other)})
    return _with(aligned, found)


def _preference(arm: Arm, row: Row, one: Preference | None, two: Preference | None, verdicts: Verdicts) -> float | None:
    """The share of the two verdicts for the row's answer, which stood first in ``one`` and second in ``two``."""
    if one is None or two is None:
        return None
    worth = ({"first": 1.0, "tie": 0.5, "second": 0.0}[one.better], {"first": 0.0, "tie": 0.5, "second": 1.0}[two.better])
    verdicts.pairs += 1
    verdicts.consistent += worth[0] == worth[1]
    for each in (one, two):
        verdicts.decided += each.better != "tie"
        verdicts.first += each.better == "first"
    better, reasons = [one.better, two.better], [one.reason, two.reason]
    preference = sum(worth) / 2
    verdicts.rows.append(
        {"metric": "win_rate", "axes": dict(arm.axes), "id": row["id"], "better": better, "preference": preference, "reason": reasons}
    )
    return preference


def _with(aligned: Aligned, found: Sequence[Mapping[str, Any]]) -> Aligned:
    """The same arms, each row with more in it; ``found`` goes through the arms' rows in order."""
    more = iter(found)
    return replace(aligned, arms=[Arm(arm.axes, [{**row, **next(more)} for row in arm.rows]) for arm in aligned.arms])


def _name(arm: Arm, row: Row) -> str:
    return f"{label(arm.axes)}: {row['id']}"

"""What a judge said: a score by a rubric, and how often an arm is preferred to its opponent.

Judges are asked elsewhere (:mod:`runner.judging`); here their verdicts become figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runner.evaluation.aggregates import Array
from runner.evaluation.metric import Rows, ValueMetric, numbers

_LACKS = ("verdicts of a judge", "have a judge look at them first: see `runner.judging`")


class JudgeScore(ValueMetric):
    """Reads ``judge_score`` of the rows."""

    key, title, unit = "judge", "Judge's score", "of 5"
    normalisation = "1 (worst) to 5 (best), by the judge's rubric; items without a valid verdict have no score"
    source = "Zheng et al., 2023: Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena (single-answer grading)"
    inputs = {"scores": "the judge's score"}
    lacks = _LACKS

    def columns(self, rows: Rows) -> dict[str, list[Any]]:
        return {"scores": numbers([row.get("judge_score") for row in rows])}

    def items(self, *, scores: Sequence[float]) -> tuple[Array, Array]:
        values = np.array(scores, dtype=np.float64)
        return values, values[:, None]


class WinRate(ValueMetric):
    """Reads ``preference`` of the rows: 1 where the answer is preferred to its opponent, 0 where the opponent is, 0.5 for a tie."""

    key, title = "win_rate", "Win rate"
    normalisation = "each pair is judged in both orders, which counts half a win each; a tie is half a win for both; equal texts are a tie"
    source = "Li et al., 2023: AlpacaEval; positions swapped as in Zheng et al., 2023: MT-Bench"
    inputs = {"preferences": "0 to 1: the share of the verdicts for the answer, a tie counts half"}
    lacks = _LACKS

    def columns(self, rows: Rows) -> dict[str, list[Any]]:
        return {"preferences": numbers([row.get("preference") for row in rows])}

    def items(self, *, preferences: Sequence[float]) -> tuple[Array, Array]:
        values = 100 * np.array(preferences, dtype=np.float64)
        return values, values[:, None]


class LengthAdjustedWinRate(WinRate):
    """Reads ``opponent_length`` of the rows too, in characters."""

    key, title = "length_adjusted_win_rate", "Length-adjusted win rate"
    normalisation = (
        "what the win rate would be between answers of equal length: the least-squares line of the verdict over (a - b) / (a + b), a and b "
        "the lengths in characters of answer and opponent, read at 0; cut to 0 and 100. Not AlpacaEval 2's length-controlled rate, which "
        "fits a logistic model over many systems"
    )
    aggregation = "intercept"
    source = "after Dubois et al., 2024: Length-Controlled AlpacaEval"
    inputs = {**WinRate.inputs, "lengths": "characters of the answer", "opponents": "characters of the opponent's answer"}

    def columns(self, rows: Rows) -> dict[str, list[Any]]:
        return {
            **super().columns(rows),
            "lengths": numbers([len(row["answer"]) for row in rows]),
            "opponents": numbers([row.get("opponent_length") for row in rows]),
        }

    def items(  # type: ignore[override]
        self, *, preferences: Sequence[float], lengths: Sequence[float], opponents: Sequence[float]
    ) -> tuple[Array, Array]:
        values, _ = super().items(preferences=preferences)
        own, other = np.array(lengths, dtype=np.float64), np.array(opponents, dtype=np.float64)
        gap = (own - other) / np.where(own + other > 0, own + other, 1)
        statistics = np.column_stack([values, gap, values * gap, gap * gap])
        return values, np.where(np.isnan(values)[:, None], np.nan, statistics)

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from runner.evaluation.aggregates import intercept
from runner.evaluation.metrics import LengthAdjustedWinRate, WinRate

ALPACA = Path(__file__).resolve().parents[3] / "shared/data/alpaca_eval"
PUBLISHED = 26.459627329192543  # alpaca-7b in alpaca_eval_gpt4_leaderboard.csv


@pytest.mark.shared
@pytest.mark.skipif(not ALPACA.is_dir(), reason="needs ../shared/data/alpaca_eval")
def test_alpaca_evals_win_rate_from_its_annotations() -> None:
    rows = json.loads((ALPACA / "alpaca-7b/annotations_alpaca_eval_gpt4.json").read_text(encoding="utf-8"))
    preferences = [{1: 0.0, 2: 1.0, 0: 0.5}[row["preference"]] for row in rows]
    assert len(preferences) == 805
    assert WinRate().compute(preferences=preferences) == {"win_rate": pytest.approx(PUBLISHED, rel=1e-14)}
    lengths, opponents = ([len(row[name]) for row in rows] for name in ("output_2", "output_1"))
    found = LengthAdjustedWinRate().compute(preferences=preferences, lengths=lengths, opponents=opponents)["length_adjusted_win_rate"]
    gap = [(a - b) / (a + b) if a + b else 0.0 for a, b in zip(lengths, opponents, strict=True)]
    assert found == pytest.approx(np.polynomial.Polynomial.fit(gap, 100 * np.array(preferences), 1)(0), rel=1e-9)


def test_length_is_taken_out_of_the_win_rate() -> None:
    """Judges who only look at length: half of the wins is what equal lengths would give."""
    generator = np.random.default_rng(0)
    lengths, opponents = generator.integers(100, 1000, 4000), generator.integers(50, 500, 4000)
    preferences = (generator.random(4000) < 0.5 + 0.5 * (lengths - opponents) / (lengths + opponents)).astype(float)
    columns = {"preferences": preferences, "lengths": lengths, "opponents": opponents}
    assert WinRate().compute(preferences=preferences)["win_rate"] > 60
    assert LengthAdjustedWinRate().compute(**columns)["length_adjusted_win_rate"] == pytest.approx(50, abs=3)


def test_where_lengths_do_not_differ_nothing_is_adjusted() -> None:
    same = {"preferences": [1.0, 0.0, 1.0, 1.0], "lengths": [5.0] * 4, "opponents": [5.0] * 4}
    assert LengthAdjustedWinRate().compute(**same) == {"length_adjusted_win_rate": 75}
    empty = {"preferences": [1.0], "lengths": [0.0], "opponents": [0.0]}
    assert LengthAdjustedWinRate().compute(**empty) == {"length_adjusted_win_rate": 100}
    gone = {"preferences": [math.nan, 1.0], "lengths": [1.0, 2.0], "opponents": [2.0, 2.0]}
    assert LengthAdjustedWinRate().compute(**gone) == {"length_adjusted_win_rate": 100}


def test_the_intercept_stays_within_the_scale() -> None:
    x, y = np.array([0.5, 0.6]), np.array([0.0, 100.0])
    assert intercept(np.array([y.sum(), x.sum(), (x * y).sum(), (x * x).sum()]), 2) == 0

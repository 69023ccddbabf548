from __future__ import annotations

import pytest

from runner.cli.board import Board, sparkline
from runner.engine import events


def board() -> Board:
    filled = Board()
    filled.take(events.Planned(t=0.0, states={"papers": "hit", "lora": "waiting", "scores[a=1]": "waiting"}))
    filled.take(events.Started(t=1.0, instance="lora", why="learning_rate 2e-4 -> 1e-4"))
    return filled


def test_a_resumed_step_is_not_credited_with_what_was_there() -> None:
    filled = board()
    filled.take(events.Progress(t=2.0, instance="lora", done=30, total=40, unit="steps"))
    row = filled.rows["lora"]
    assert row.rate is None
    assert row.progress() == "30/40 steps"
    filled.take(events.Progress(t=4.0, instance="lora", done=34, total=40, unit="steps"))
    assert row.rate == pytest.approx(2.0)
    assert row.left == pytest.approx(3.0)
    assert row.progress() == "34/40 steps, 2/s, 3.0 s left"


def test_another_unit_has_a_rate_of_its_own() -> None:
    filled = board()
    for t, done, unit in ((2.0, 0, "passages"), (52.0, 300, "passages"), (60.0, 0, "steps"), (62.0, 4, "steps")):
        filled.take(events.Progress(t=t, instance="lora", done=done, total=400, unit=unit))
    assert filled.rows["lora"].rate == pytest.approx(2.0)


def test_no_time_left_without_a_total() -> None:
    filled = board()
    for t, done in ((2.0, 10), (3.0, 20)):
        filled.take(events.Progress(t=t, instance="lora", done=done, total=None, unit="pages"))
    assert filled.rows["lora"].progress() == "20 pages, 10/s"


def test_states_warnings_and_curve() -> None:
    filled = board()
    filled.take(events.Metrics(t=2.0, instance="lora", step=1, values={"loss": 2.5}))
    filled.take(events.Metrics(t=2.1, instance="lora", step=1, values={"loss": None, "reward": 1.0}))
    filled.take(events.Warned(t=2.2, instance="lora", message="cut"))
    filled.take(events.Finished(t=3.0, instance="lora", state="failed", seconds=2.0, error="no memory"))
    row = filled.rows["lora"]
    assert (row.curve, row.warnings, row.state, row.error) == ([2.5], ["cut"], "failed", "no memory")
    assert filled.counts() == "1 cached, 1 failed, 1 waiting"
    assert filled.now == 3.0


@pytest.mark.parametrize(
    ("values", "line"),
    [([], ""), ([1.0], "▁"), ([3.0, 2.0, 1.0], "█▅▁"), ([1.0, 1.0], "▁▁"), ([float(n) for n in range(80)], "▁▂▃▄▅▆▇█")],
)
def test_sparkline(values: list[float], line: str) -> None:
    assert sparkline(values, 8) == line


def test_what_is_slow_has_a_time_for_each_instead_of_a_rate() -> None:
    filled = board()
    for t, done in ((2.0, 1), (26.0, 3)):
        filled.take(events.Progress(t=t, instance="lora", done=done, total=4, unit="steps"))
    assert filled.rows["lora"].progress() == "3/4 steps, 12 s each, 12 s left"


def test_things_are_counted_whole() -> None:
    filled = board()
    filled.take(events.Progress(t=2.0, instance="lora", done=8, total=73, unit="questions"))
    filled.take(events.Progress(t=4.0, instance="lora", done=32.75, total=73, unit="questions"))
    row = filled.rows["lora"]
    assert row.progress() == "32/73 questions, 12.4/s, 3.3 s left"


def test_bytes_are_read_as_sizes() -> None:
    filled = board()
    for t, done in ((2.0, 0), (4.0, 1_500_000_000)):
        filled.take(events.Progress(t=t, instance="lora", done=done, total=6_000_000_000, unit="bytes"))
    assert filled.rows["lora"].progress() == "1.50 GB/6 GB, 750 MB/s, 6.0 s left"

from __future__ import annotations

import pytest

from runner.datasets import Bad, Condition, Record, Tally
from runner.errors import InputError


def tallied(usable: int, *counts: int) -> Tally:
    tally = Tally()
    list(tally.reading((f"f{n}", [Record(f"f{n}", "line 1", {})] * count) for n, count in enumerate(counts)))
    list(tally.passing([{}] * usable))
    return tally


def test_rows_are_counted_by_file() -> None:
    tally = tallied(2, 3, 0, 1)
    assert tally.empty_files == ["f1"]
    assert tally.summary([Condition(column="c", one_of=[1])], [1], [Bad("f2", "line 1", "broken")]) == {
        "files": [{"file": "f0", "read": 3, "bad": 0}, {"file": "f1", "read": 0, "bad": 0}, {"file": "f2", "read": 1, "bad": 1}],
        "filter": [{"condition": {"column": "c", "one_of": [1]}, "left_out": 1}],
        "read": 4, "left_out": 1, "bad": 1, "usable": 2, "taken": 0,
    }  # fmt: skip


def test_too_few_examples_are_an_error_with_the_reasons() -> None:
    tally, bad = tallied(3, 5), [Bad("f0", "line 1", "broken")]
    summary = tally.summary([], [], bad)
    tally.check(summary, bad, {"first": 3})
    with pytest.raises(InputError) as caught:
        tally.check(summary, bad, {"first": 3, "sample": 4})
    assert str(caught.value) == (
        "f0: 3 examples where `sample` wants 4: 5 rows read, 1 bad\n  set `sample` to at most 3, or `at_most: true`"
    )
    with pytest.raises(InputError, match="path: no row gives an example: 3 rows read, 1 bad; the first bad row: f0, line 1: broken"):
        (none := tallied(0, 1, 2)).check(none.summary([], [], bad), bad, {})

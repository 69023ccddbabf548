from __future__ import annotations

from typing import Any

import pytest

from runner.datasets.columns import is_blank, lookup, text_of

ROW: dict[str, Any] = {"a": {"b": [{"t": "x"}, {"t": "y"}]}, "a.c": 1, "lists": {"text": ["p", "q"]}, "n": None}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("a.c", 1), ("a.b.0.t", "x"), ("a.b.t", ["x", "y"]), ("a.b.t.1", "y"), ("lists.text.0", "p"), ("n", None),
    ],
)  # fmt: skip
def test_paths(column: str, value: Any) -> None:
    assert lookup(ROW, column) == value


@pytest.mark.parametrize("column", ["z", "a.z", "a.b.2", "a.b.z", "n.x", "lists.text.x", "a.b.-1"])
def test_paths_that_lead_nowhere_name_the_columns(column: str) -> None:
    with pytest.raises(ValueError) as caught:
        lookup(ROW, column)
    assert str(caught.value) == f"there is no `{column}`; the columns are `a`, `a.c`, `lists`, `n`"


def test_texts_and_blanks() -> None:
    assert [text_of(value) for value in (" a\r\nb ", 3, 2.5, True)] == ["a\nb", "3", "2.5", "true"]
    for value, reason in ((None, "null"), ([1], "a list"), ({}, "a map"), (b"x", "a bytes"), ("\ud800", "half of a character")):
        with pytest.raises(ValueError, match=reason):
            text_of(value)
    assert [is_blank(value) for value in (None, " ", [], {}, 0, False, "x")] == [True, True, True, True, False, False, False]

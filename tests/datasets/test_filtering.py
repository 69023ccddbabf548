from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.datasets import Condition, Filter, IdFile, Record, members
from runner.datasets.filtering import faults
from runner.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"n": 1, "t": "yes", "tags": ["a", "b"]},
    {"n": "2.5", "t": "No", "tags": []},
    {"n": None, "t": " ", "tags": ["b"]},
    {"n": 10, "t": True, "tags": None},
]


def passed(*conditions: Condition, sets: tuple[frozenset[str], ...] = ()) -> list[int]:
    kept = Filter(conditions, sets).over(Record("f", str(n), row) for n, row in enumerate(ROWS))
    return [int(record.place) for record in kept if not record.fault]


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ({"column": "n", "one_of": [1, "10"]}, [0, 3]),
        ({"column": "t", "one_of": [True]}, [3]),
        ({"column": "tags", "one_of": ["a"]}, [0]),
        ({"column": "tags", "none_of": ["a"]}, [1, 2, 3]),
        ({"column": "n", "at_least": 2}, [1, 3]),
        ({"column": "n", "at_most": 2.5}, [0, 1]),
        ({"column": "n", "at_least": 2, "at_most": 3}, [1]),
        ({"column": "t", "matches": "^(?i:no|yes)$"}, [0, 1]),
        ({"column": "t", "present": True}, [0, 1, 3]),
        ({"column": "tags", "present": False}, [1, 3]),
        ({"column": "tags.0", "present": True}, [0, 2]),
        ({"column": "tags.0", "present": False}, [1, 3]),
    ],
)
def test_conditions(condition: dict[str, Any], kept: list[int]) -> None:
    assert passed(Condition(**condition)) == kept


def test_all_conditions_hold_and_each_counts_what_it_refused_first() -> None:
    wanted = Filter([Condition(column="n", present=True), Condition(column="t", matches="e")])
    assert [record.place for record in wanted.over(Record("f", str(n), row) for n, row in enumerate(ROWS))] == ["0", "3"]
    assert wanted.left_out == [1, 1]
    assert passed(Condition(column="n", in_file=IdFile(path="x")), sets=(frozenset({"1", "10"}),)) == [0, 3]


def test_what_cannot_be_tested_is_a_bad_row_and_no_row_left_out() -> None:
    conditions = [Condition(column="t", at_least=1), Condition(column="x", one_of=["a"])]
    for condition, fault in zip(conditions, ("`t` is no number: `yes`", "there is no `x`; the columns are `n`, `t`, `tags`"), strict=True):
        wanted = Filter([condition])
        (record,) = wanted.over([Record("f", "line 1", ROWS[0])])
        assert (record.fault, wanted.left_out) == (fault, [0])
    (record,) = Filter([Condition(column="tags", one_of=["a"])]).over([Record("f", "line 1", {"tags": [{"x": 1}]})])
    assert record.fault == "`tags` is a map"
    (record,) = Filter([Condition(column="x", one_of=["a"])]).over([Record("f", "line 1", {}, "broken")])
    assert record.fault == "broken"


def test_values_of_a_file(tmp_path: Path) -> None:
    def file(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    assert members(file("a.json", json.dumps({"12": "yes", "13": "no"}))) == {"12", "13"}
    assert members(file("b.json", "[12, 13]")) == members(file("c.txt", "12\r\n\n 13 \n")) == {"12", "13"}
    assert members(file("d.csv", "id,x\n12,1\n13,2\n"), "id") == members(file("e.jsonl", '{"id": 12}\n{"id": 13}\n'), "id") == {"12", "13"}
    for path, column, message in (
        (tmp_path / "d.csv", None, "f: no column of it is named\n  set `column`, or name a .json or .txt file of values"),
        (tmp_path / "d.csv", "nope", "f, line 2: its `nope` cannot be read: there is no `nope`; the columns are `id`, `x`"),
        (file("g.json", "7"), None, "f: is no map or list of values: it holds a number\n  set `column`, where it holds rows"),
        (file("h.json", '[{"id": 7}]'), None, "f: is no map or list of values: a map\n  set `column`, where it holds rows"),
    ):
        with pytest.raises(InputError) as caught:
            members(path, column, "f")
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({}, ("", "tests nothing")),
        ({"at_least": 2, "at_most": 1}, ("at_most", "no number is at least and at most that")),
        ({"matches": "("}, ("matches", "no regular expression: missing ), unterminated subpattern at position 0")),
        ({"in_file": IdFile(path="x.csv")}, ("in_file", "no column of it is named")),
    ],
)
def test_conditions_without_sense(condition: dict[str, Any], found: tuple[str, str]) -> None:
    assert [fault[:2] for fault in faults(Condition(column="c", **condition))] == [found]
    assert not list(faults(Condition(column="c", in_file=IdFile(path="x.json.gz"), at_least=1, at_most=1)))

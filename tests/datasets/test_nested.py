from __future__ import annotations

from typing import Any

import pytest

from runner.datasets.nested import unnest
from runner.errors import InputError

SQUAD = {
    "version": "1.1",
    "data": [
        {"title": "T1", "paragraphs": [{"context": "c1", "qas": [{"q": 1}, {"q": 2}]}, {"context": "c2", "qas": []}]},
        {"title": "T2", "paragraphs": [{"context": "c3", "qas": [{"q": 3, "paragraphs": "own"}]}]},
    ],
}


def test_the_maps_around_a_row_are_columns_of_it() -> None:
    assert list(unnest(SQUAD, "data.paragraphs.qas", "f")) == [
        ("data[0].paragraphs[0].qas[0]", {"data": {"title": "T1"}, "paragraphs": {"context": "c1"}, "q": 1}, ""),
        ("data[0].paragraphs[0].qas[1]", {"data": {"title": "T1"}, "paragraphs": {"context": "c1"}, "q": 2}, ""),
        ("data[1].paragraphs[0].qas[0]", {"data": {"title": "T2"}, "paragraphs": "own", "q": 3}, ""),
    ]


def test_maps_of_rows_at_the_top_at_the_end_and_on_the_way() -> None:
    papers = {"p1": {"title": "T", "qas": [{"q": 1}]}, "p2": {"title": "U", "qas": [{"q": 2}, {"q": 3}]}}
    assert next(unnest(papers, "", "f"))[1] == {"id": "p1", "title": "T", "qas": [{"q": 1}]}
    assert list(unnest({"all": papers}, "all", "f"))[1][0] == "all.p2"
    assert list(unnest(papers, "*.qas", "f"))[2] == ("p2.qas[1]", {"*": {"id": "p2", "title": "U"}, "q": 3}, "")
    assert list(unnest({"x": 1, "all": papers}, "all.*", "f"))[1][1]["id"] == "p2"
    assert list(unnest([{"meta": {"q": 1}}, {"meta": {"q": 2}}], "meta", "f")) == [("[0].meta", {"q": 1}, ""), ("[1].meta", {"q": 2}, "")]
    assert list(unnest({"a": {"b": {"q": 1}}}, "a", "f")) == [("a.b", {"id": "b", "q": 1}, "")]


def test_what_is_broken_inside_of_a_list_is_a_row_with_a_fault() -> None:
    broken: Any = {"data": [{"rows": [{"q": 1}, 7, None]}, {"row": 1}, "x"]}
    assert [(place, fault) for place, _, fault in unnest(broken, "data.rows", "f")] == [
        ("data[0].rows[0]", ""),
        ("data[0].rows[1]", "it is a number where a map of columns should be"),
        ("data[0].rows[2]", "it is null where a map of columns should be"),
        ("data[1]", "there is no `rows` in it; it holds `row`"),
        ("data[2]", "it is a text where a map of columns should be"),
    ]


@pytest.mark.parametrize(
    ("value", "records", "message"),
    [
        ({"a": {"b": 1}}, "a", "f: holds a map at `a` where a list of rows should be\n  `records` leads to the rows; there are `b`"),
        ({"a": 1}, "a", "f: holds a number at `a` where a list of rows should be"),
        ({}, "", "f: holds a map where a list of rows should be\n  `records` leads to the rows; there are no keys"),
        (7, "", "f: holds a number where a list of rows should be"),
    ],
)
def test_a_path_that_leads_to_no_rows(value: Any, records: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        list(unnest(value, records, "f"))
    assert str(caught.value) == message

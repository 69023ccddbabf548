from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.datasets import Bad, Record, examples, read_records
from runner.errors import InputError

ROOT = Path(__file__).parents[2]

BASE = {"question": "x", "answer": "y"}


def made(*rows: dict[str, Any], fields: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
    return list(examples((Record("f.jsonl", f"line {n}", row) for n, row in enumerate(rows, 1)), fields, **options))


def test_columns_of_the_same_name_are_taken() -> None:
    row = {"id": 7, "question": " Q\r\n", "answer": 42, "documents": ["a", "b", "a"], "type": "factual", "other": None, "context": {}}
    assert made(row) == [{"id": "7", "question": "Q", "answer": "42", "documents": ["a", "b"], "origin": "f", "type": "factual"}]


def test_columns_paths_and_functions() -> None:
    row = {"instruction": "Add", "input": "1 {+} 2", "answers": {"text": ["3", "three"]}, "a.b": "doc", "n": 12}
    join: Callable[[Any], str] = lambda columns: f"{columns['instruction']}: {columns['input']}"  # noqa: E731
    (example,) = made(row, fields={"question": join, "answer": "answers.text.0", "document": "a.b", "context": "input"}, origin="o")
    assert (example["question"], example["answer"], example["documents"]) == ("Add: 1 {+} 2", "3", ["doc"])
    assert (example["context"], example["origin"]) == ("1 {+} 2", "o")
    (example,) = made(row, fields={"question": join, "answers": "answers.text", "document": "n"})
    assert (example["answer"], example["answers"], example["documents"]) == ("3", ["3", "three"], ["12"])
    (example,) = made(row, fields={"question": join, "answer": "n", "answers": "answers.text"})
    assert (example["answer"], example["answers"]) == ("12", ["12", "3", "three"])


def test_what_else_is_kept_keeps_its_type() -> None:
    row = {**BASE, "year": 2011, "tags": ["a"], "none": None, "label": 0}
    extra = {"year": "year", "tags": "tags", "none": "none", "said": "label", "made": lambda columns: f"<{columns['year']}>"}
    (example,) = made(row, extra=extra, values={"said": {"0": "low"}})
    assert example["extra"] == {"year": 2011, "tags": ["a"], "none": None, "said": "low", "made": "<2011>"}


def test_values_are_translated() -> None:
    rows = [{"question": "x", "label": label, "kind": "Shallow question "} for label in (0, "1", True)]
    values = {"answer": {"0": "negative", "1": "positive", "true": "yes"}, "type": {"Shallow question": "shallow"}}
    found = made(*rows, fields={"answer": "label", "type": "kind"}, values=values)
    assert [(example["answer"], example["type"]) for example in found] == [(word, "shallow") for word in ("negative", "positive", "yes")]
    with pytest.raises(InputError, match=r"line 1: `2` is no value of answer that `values` names: `0`, `1`, `true`"):
        made({"question": "x", "answer": 2}, values=values)


def test_a_set_without_references() -> None:
    rows = [{"question": "x"}, {"question": "y", "answer": None}, {"question": "z", "answer": " "}, {"question": "u", "answer": "v"}]
    assert [example["answer"] for example in made(*rows, reference="optional")] == ["", "", "", "v"]
    with pytest.raises(InputError, match="there is no `reply`"):
        made(rows[3], fields={"answer": "reply"}, reference="optional")
    assert made({"question": "x", "a": []}, fields={"answers": "a"}, reference="optional")[0]["answer"] == ""


def test_ids_come_from_the_text_and_outlive_a_change_of_order() -> None:
    one, two = {"question": "a", "answer": "b"}, {"question": "c", "answer": "d"}
    assert {e["id"] for e in made(one, two)} == {e["id"] for e in made(two, one)}
    first, second = (e["id"] for e in made(one, one))
    assert second == f"{first}-2"


@pytest.mark.parametrize(
    ("row", "fields", "message"),
    [
        ({"q": "x"}, {}, "line 1: there is no `question`; the columns are `q`"),
        ({"question": "x", "answer": " "}, {}, "line 1: `answer` is empty"),
        ({"question": "x", "a": ""}, {"answer": "a"}, "line 1: the answer that it gives is empty: `a`"),
        ({"question": "x"}, {"answer": lambda columns: " "}, "line 1: the answer that it gives is empty"),
        ({"question": None, "answer": "x"}, {}, "line 1: `question` is null"),
        ({"question": "x", "answer": ["y"]}, {}, "line 1: `answer` is a list; name a part of it, such as `answer.0`, or write a template"),
        ({**BASE, "answer": {"t": 1}}, {}, "line 1: `answer` is a map; name a part of it, such as `answer.t`, or write a template"),
        ({"question": "x", "answer": True}, {}, "line 1: `answer` is a truth value; say by `values` what true and false stand for"),
        ({"question": "x", "answer": "\ud800"}, {}, "line 1: `answer` is half of a character (a lone surrogate)"),
        ({**BASE, "document": 3.5}, {}, "line 1: `document` is a number and neither an id nor a list of ids"),
        ({**BASE, "document": ["\ud800"]}, {}, "line 1: `document` is half of a character (a lone surrogate)"),
        ({**BASE, "id": "\ud800"}, {}, "line 1: `id` is half of a character (a lone surrogate)"),
        ({**BASE, "a": []}, {"answers": "a"}, "line 1: `a` holds no answer"),
        ({**BASE, "a": ["x", {"y": 1}]}, {"answers": "a"}, "line 1: `a` is a map; name a part of it, such as `a.y`, or write a template"),
    ],
)  # fmt: skip
def test_schema_errors_name_the_row(row: dict[str, Any], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        made(row, fields=fields)
    remedy = "mend the rows, map columns by `fields`, or set `on_bad_row: skip`"
    assert str(caught.value) == f"f.jsonl: 1 row cannot be used\n  {message}\n  {remedy}"


@pytest.mark.parametrize(
    ("value", "message"),
    [({"x": ["\ud800"]}, "`e` holds half of a character"), (b"x", "`e` is a bytes, which cannot be kept"), (1e999, "which cannot be kept")],
)
def test_what_cannot_be_kept_is_an_error(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made({**BASE, "e": value}, extra={"e": "e"})


def test_several_errors_are_shown_at_once_and_doubled_ids_refused() -> None:
    good = {**BASE, "id": "a"}
    with pytest.raises(
        InputError, match=r"(?s)^f.jsonl: 2 rows cannot be used\n  line 2: .*\n  line 3: the id `a` is that of f.jsonl, line 1 "
    ):
        made(good, {}, good)
    with pytest.raises(InputError, match="at least 10 rows"):
        made(*[{}] * 30)
    records = [Record("a.jsonl", "line 1", good), Record("b.jsonl", "line 1", good), Record("c.jsonl", "line 9", {}, "it is broken")]
    with pytest.raises(InputError) as caught:
        list(examples(records))
    assert str(caught.value).startswith(
        "2 rows cannot be used\n  b.jsonl, line 1: the id `a` is that of a.jsonl, line 1 too\n  c.jsonl, line 9: it is broken\n"
    )


def test_after_a_bad_row_only_so_many_are_looked_at() -> None:
    asked = 0

    def endless() -> Any:
        nonlocal asked
        while True:
            asked += 1
            yield Record("f", f"line {asked}", BASE if asked != 5 else {})

    with pytest.raises(InputError, match="at least 1 row cannot be used"):
        list(examples(endless()))
    assert 20_000 < asked < 20_010


def test_bad_rows_are_named_where_they_are_left_out() -> None:
    bad: list[Bad] = []
    assert len(made(BASE, {"question": "x"}, BASE, bad=bad)) == 2
    assert bad == [Bad("f.jsonl", "line 2", "there is no `answer`; the columns are `question`")]


def test_the_manual_pairs_name_documents_of_the_corpus() -> None:
    pairs = list(examples(read_records(ROOT / "recipes/data/manual-qa.jsonl")))
    corpus = {path.name for path in (ROOT / "recipes/corpus").iterdir() if path.suffix in (".md", ".pdf")}
    assert {pair["documents"][0] for pair in pairs} == corpus
    assert {pair["origin"] for pair in pairs} == {"manual-qa"}
    assert 12 <= len(pairs) <= 16
    assert all(len(pair["documents"]) == 1 for pair in pairs)
    json.dumps(pairs)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.datasets import examples, read_records
from runner.errors import InputError

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


def made(*rows: dict[str, Any], **fields: str) -> list[dict[str, Any]]:
    return list(examples(((f"line {n}", row) for n, row in enumerate(rows, 1)), fields, origin="o", name="f.jsonl"))


def test_columns_of_the_same_name_are_taken() -> None:
    row = {"id": 7, "question": " Q\r\n", "answer": 42, "documents": ["a", "b", "a"], "type": "factual", "other": None}
    assert made(row) == [{"id": "7", "question": "Q", "answer": "42", "documents": ["a", "b"], "origin": "o", "type": "factual"}]


def test_columns_paths_and_templates() -> None:
    row = {"instruction": "Add", "input": "1 {+} 2", "answers": {"text": ["3", "three"]}, "a.b": "doc"}
    (example,) = made(row, question="{instruction}: {input}", answer="answers.text.0", document="a.b")
    assert (example["question"], example["answer"], example["documents"]) == ("Add: 1 {+} 2", "3", ["doc"])


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
        ({"question": None, "answer": "x"}, {}, "line 1: `question` is null"),
        ({"question": "x", "answer": ["y"]}, {}, "line 1: `answer` is a list; name a part of it, such as `answer.0`"),
        ({"question": "x", "answer": {"t": 1}}, {}, "line 1: `answer` is a map; name a part of it, such as `answer.t`"),
        ({"question": "x", "answer": True}, {}, "line 1: `answer` is a truth value"),
        ({"question": "x", "answer": "\ud800"}, {}, "line 1: `answer` holds half of a character (a lone surrogate)"),
        ({"question": "x", "answer": "y", "document": 3}, {}, "line 1: `document` is int and neither an id nor a list of ids"),
        ({"question": "x", "answer": "y"}, {"question": "{nope}"},
         "line 1: there is no `nope`; the columns are `question`, `answer`"),
    ],
)  # fmt: skip
def test_schema_errors_name_the_row(row: dict[str, Any], fields: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        made(row, **fields)
    assert str(caught.value) == f"f.jsonl: 1 row cannot be used\n  {message}\n  mend the rows, or map columns by `fields`"


def test_several_errors_are_shown_at_once_and_doubled_ids_refused() -> None:
    good = {"question": "x", "answer": "y", "id": "a"}
    with pytest.raises(InputError, match=r"(?s)2 rows cannot be used\n  line 2: .*\n  line 3: the id `a` is that of line 1 too"):
        made(good, {}, good)
    with pytest.raises(InputError, match="at least 10 rows"):
        made(*[{}] * 30)


def test_the_manual_pairs_name_documents_of_the_corpus() -> None:
    pairs = list(examples(read_records(ROOT / "recipes/data/manual-qa.jsonl"), {}, origin="manual-qa", name="manual-qa.jsonl"))
    corpus = {path.name for path in (ROOT / "recipes/corpus").iterdir() if path.suffix in (".md", ".pdf")}
    assert {pair["documents"][0] for pair in pairs} == corpus
    assert 12 <= len(pairs) <= 16
    assert all(len(pair["documents"]) == 1 for pair in pairs)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")
@pytest.mark.parametrize(
    ("file", "records", "fields"),
    [
        ("gsm8k/test_first300.jsonl", "", {}),
        ("alpaca_eval/text_davinci_003/model_outputs.json", "", {"question": "instruction", "answer": "output"}),
    ],
)
def test_public_data_sets(file: str, records: str, fields: dict[str, str]) -> None:
    bad: list[str] = []
    found = list(examples(read_records(SHARED / file, records=records), fields, origin="x", name=file, bad=bad))
    assert bad == (["row 248: `output` gives an empty answer", "row 505: `output` gives an empty answer"] if "alpaca" in file else [])
    assert len(found) >= 300
    assert len({example["id"] for example in found}) == len(found)
    json.dumps(found)

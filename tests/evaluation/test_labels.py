from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.errors import InputError
from runner.evaluation.labels import label_parser, parse_number
from runner.evaluation.metrics import Accuracy, Unparsable
from runner.evaluation.settings import Label, Number

SHARED = Path(__file__).resolve().parents[3] / "shared/data"


@pytest.mark.parametrize(
    ("text", "first", "last", "only", "whole"),
    [
        ("Yes.", "yes", "yes", "yes", "yes"),
        ("  **maybe** ", "maybe", "maybe", "maybe", "maybe"),
        ("Yes, and no.", "yes", "no", None, None),
        ("no, no!", "no", "no", "no", None),
        ("I know nothing", None, None, None, None),
        ("", None, None, None, None),
        ("eyes", None, None, None, None),
    ],
)
def test_labels_are_whole_words(text: str, first: str, last: str, only: str, whole: str) -> None:
    found = [label_parser(["yes", "no", "maybe"], take)(text) for take in ("first", "last", "only", "whole")]
    assert found == [first, last, only, whole]


def test_a_label_in_a_label_and_labels_of_one_letter() -> None:
    sentiment = label_parser(["positive", "not positive"])
    assert [sentiment(text) for text in ("NOT positive at all", "Positive")] == ["not positive", "positive"]
    choice = label_parser(["A", "B"])
    assert [choice(text) for text in ("it is a (B)", "A", "a")] == ["B", "A", None]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("He pays $1,234.50 in all.", "1234.5"),
        ("first 3, then −4", "-4"),
        ("2 + 3 = 5\n#### 5 apples, not 6", "5"),
        ("1e3", "1000"),
        ("a share of .5", "0.5"),
        ("version v.5", None),
        ("It costs $.50.", "0.5"),
        ("#### none", None),
        ("no number", None),
    ],
)
def test_numbers(text: str, number: str | None) -> None:
    assert parse_number(text) == number


def test_what_cannot_be_parsed_is_wrong_and_counted() -> None:
    settings = Label(labels=["yes", "no"])
    given = {"predictions": ["Yes!", "hm", "no", "no"], "references": ["yes", "yes", "yes", "no"]}
    assert Accuracy(settings).compute(**given) == {"accuracy": 50}
    assert Unparsable(settings).compute(**given) == {"unparsable": 25}
    assert "the first of yes, no in the answer" in Accuracy(settings).describe()["normalisation"]


def test_a_reference_without_a_label_is_an_error() -> None:
    with pytest.raises(InputError, match="the reference `perhaps` cannot be parsed: the first of yes, no"):
        Accuracy(Label(labels=["yes", "no"])).compute(predictions=["yes"], references=["perhaps"])


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data")
def test_every_real_reference_is_parsed() -> None:
    """GSM8K's solutions hold many numbers, of which the marked one counts; PubMedQA's long answers give decisions in part."""
    rows = [json.loads(line) for line in (SHARED / "gsm8k/test_first300.jsonl").read_text(encoding="utf-8").splitlines()]
    wanted = [row["answer"].rsplit("####", 1)[1].replace(",", "").strip() for row in rows]
    assert [parse_number(row["answer"]) for row in rows] == wanted
    spoken = [f"So the answer is {row['answer'].rsplit('####', 1)[1].strip()}." for row in rows]
    references = [row["answer"] for row in rows]
    assert Accuracy(Number()).compute(predictions=spoken, references=references) == {"accuracy": 100}
    assert Accuracy(Number()).compute(predictions=spoken[1:] + spoken[:1], references=references)["accuracy"] < 10
    decisions = [row["final_decision"] for row in json.loads((SHARED / "pubmedqa/ori_pqal.json").read_text(encoding="utf-8")).values()]
    given = {"predictions": ["Yes"] * len(decisions), "references": decisions}
    assert Accuracy(Label(labels=["yes", "no", "maybe"])).compute(**given) == {"accuracy": pytest.approx(55.2)}

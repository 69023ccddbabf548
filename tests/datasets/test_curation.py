from __future__ import annotations

from typing import Any

import pytest

from runner.datasets.curation import UNCHECKED, Count, curate, duplicates, language, length, near_duplicates, schema, standalone, supported
from runner.errors import InputError


def row(question: str = "What is LoRA?", answer: str = "A low-rank adapter.", **more: Any) -> dict[str, Any]:
    return {"id": more.pop("id", question), "question": question, "answer": answer, "documents": ["d"], **more}


def test_a_victim_is_counted_by_the_first_rule_that_it_breaks() -> None:
    given = [row(), row("x", "y"), row("How does it work?", "By rank."), row("WHAT IS LORA", "a low-rank adapter", id="twin")]
    kept, sorting = curate(
        given,
        {"length": lambda left: length(min_question=3), "standalone": lambda left: standalone(), "duplicates": lambda left: duplicates()},
    )
    assert [example["id"] for example in kept] == ["What is LoRA?"]
    assert [(rule, detail) for rule, detail, _ in sorting.victims] == [
        ("length", "the question has 1 characters, fewer than 3"),
        ("standalone", 'refers to what it does not name: "it work"'),
        ("duplicates", "the same as What is LoRA?"),
    ]
    assert sorting.counts == {"length": Count(4, 4, 1), "standalone": Count(3, 3, 1), "duplicates": Count(2, 2, 1)}


@pytest.mark.parametrize(
    ("rule", "example", "wrong"),
    [
        (schema(), row(), None),
        (schema(), row(answer="  "), "`answer` holds no text"),
        (schema(), {"id": "1", "question": "q"}, "`answer` holds no text"),
        (schema(["source"]), row(), "`source` is missing or empty"),
        (schema(["source"]), row(source={"quote": "q"}), None),
        (schema(types=["factual"]), row(type="numeric"), "its type is numeric"),
        (schema(types=["factual"]), row(), None),
        (length(max_question=12), row(), "the question has 13 characters, more than 12"),
        (length(max_question=13), row(), None),
        (length("words", min_answer=4), row(), "the answer has 3 words, fewer than 4"),
        (length("words", min_answer=3, max_answer=3), row(), None),
        (supported(lambda example: None), row(), UNCHECKED),
        (supported(lambda example: "adapters of low rank"), row(), None),
        (supported(lambda example: "nothing of the kind"), row(), "its text holds 0% of the answer's words"),
        (supported(lambda example: "rank 8"), row(answer="rank 16"), "its text does not hold 16"),
        (supported(lambda example: "rank 8", numbers=False), row(answer="rank 16"), None),
        (standalone(["lora"]), row(), "matches 'lora': \"LoRA\""),
    ],
)
def test_rules(rule: Any, example: dict[str, Any], wrong: str | None) -> None:
    assert rule(example) == wrong


def test_language_drops_only_what_is_surely_another() -> None:
    rule = language(["en"])
    assert rule(row("How does LoRA train fewer parameters?", "It adds two small matrices.")) is None
    assert (rule(row("Wie trainiert LoRA weniger Parameter?", "Es fügt zwei kleine Matrizen hinzu.")) or "").startswith("it is in `de`")
    assert rule(row("4 / 2 = ?", "2")) == UNCHECKED
    assert language(["en", "de"])(row("Wie trainiert LoRA weniger Parameter?", "Es fügt zwei kleine Matrizen hinzu.")) is None
    with pytest.raises(InputError, match="`english` is no language that can be told"):
        language(["english"])


def test_a_twin_that_stays_is_of_the_documents_of_all() -> None:
    given = [row(), row(id="other", documents=["e"]), row("what is lora", id="third", documents=["f"])]
    kept, _ = curate(given, {"duplicates": lambda left: duplicates("question")})
    assert [(example["id"], example["documents"]) for example in kept] == [("What is LoRA?", ["d", "e", "f"])]
    kept, _ = curate([row(), row(id="other", answer="Another.")], {"duplicates": lambda left: duplicates("normalised")})
    assert len(kept) == 2


def test_nearly_equal_pairs() -> None:
    long = "Which part of the language model does low-rank adaptation leave as it is during the whole of the training"
    given = [
        row(long + "?", "All weights."),
        row(long + " run?", "All weights.", id="near", documents=["e"]),
        row(long + "?", "Its biases, and more than that: all of them, the weights too.", id="third"),
    ]
    kept, sorting = curate(given, {"near_duplicates": near_duplicates})
    assert [example["id"] for example in kept] == [given[0]["id"], "third"]
    assert kept[0]["documents"] == ["d", "e"]
    assert sorting.victims[0][1] == f"nearly the same as {given[0]['id']}"
    assert len(curate(given, {"near_duplicates": lambda left: near_duplicates(left, compare="question")})[0]) == 1
    assert len(curate(given, {"near_duplicates": lambda left: near_duplicates(left, near=1.0)})[0]) == 3


def test_a_pattern_that_is_none_is_named() -> None:
    with pytest.raises(InputError, match=r"'\(' is no regular expression"):
        standalone(["("])

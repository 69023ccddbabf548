from __future__ import annotations

from typing import Any

import pytest

from runner.datasets import fold, mix
from runner.errors import StepError


def example(question: str, answer: str = "a", id: str = "x", **more: Any) -> dict[str, Any]:
    return {"id": id, "question": question, "answer": answer, "documents": [], "origin": "o", **more}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ('What is "LoRA"?', "what is lora", True),
        ("ＬｏＲＡ  rank", "LoRA rank", True),
        ("Is C fast?", "Is C++ fast?", False),
        ("1.5 bits", "15 bits", False),
        ("a < b", "a > b", False),
        ("r=16", "r=8", False),
        ("Straße", "STRASSE", True),
    ],
)
def test_folding(one: str, other: str, equal: bool) -> None:
    assert (fold(one) == fold(other)) is equal


@pytest.mark.parametrize(("duplicates", "kept"), [("keep", 4), ("exact", 3), ("normalised", 2), ("question", 1)])
def test_duplicates(duplicates: str, kept: int) -> None:
    sets = {"a": [example("What is X?", "It is y."), example("What is X?", "It is y.")],
            "b": [example("what is x", "it is Y"), example("What is X?", "Another.")]}  # fmt: skip
    mixed = mix(sets, duplicates=duplicates)  # type: ignore[arg-type]
    assert len(mixed.examples) == kept
    assert sum(count.duplicates for count in mixed.counts.values()) == 4 - kept
    assert sum(count.taken for count in mixed.counts.values()) == kept


def test_the_one_that_stays_is_of_the_documents_of_all_and_keeps_its_origin() -> None:
    given = example("q", documents=["d1"], origin="first")
    mixed = mix({"a": [given], "b": [example("Q!", documents=["d2", "d1"], origin="second")]})
    assert [(e["documents"], e["origin"]) for e in mixed.examples] == [(["d1", "d2"], "first")]
    assert given["documents"] == ["d1"]


def test_limits_weights_and_seed() -> None:
    def sets() -> dict[str, list[dict[str, Any]]]:
        return {name: [example(f"{name}{n}", id=f"{name}{n}") for n in range(size)] for name, size in (("a", 100), ("b", 30), ("c", 5))}

    assert {name: c.taken for name, c in mix(sets(), limits={"a": 7}).counts.items()} == {"a": 7, "b": 30, "c": 5}
    weighted = mix(sets(), weights={"a": 0.5, "b": 0.5})
    assert {name: c.taken for name, c in weighted.counts.items()} == {"a": 30, "b": 30, "c": 5}
    assert {name: c.taken for name, c in mix(sets(), weights={"a": 3, "b": 1}, limits={"b": 10}).counts.items()} == {
        "a": 30,
        "b": 10,
        "c": 5,
    }
    ids = [[e["id"] for e in mix(sets(), limits={"a": 7}, seed=seed).examples] for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    with pytest.raises(StepError, match="`c` has a weight and no examples"):
        mix({**sets(), "c": []}, weights={"c": 1})


def test_ids_that_clash_get_a_suffix() -> None:
    mixed = mix({"a": [example("q1"), example("q2", id="x-2")], "b": [example("q3")]})
    assert [e["id"] for e in mixed.examples] == ["x", "x-2", "x-3"]

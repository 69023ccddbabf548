from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.datasets import groups, leakage, near_duplicates, split
from runner.errors import StepError


def example(n: int, *documents: str, question: str = "") -> dict[str, Any]:
    return {"id": f"e{n}", "question": question or f"question {n * 7919}", "answer": "a", "documents": list(documents)}


def test_examples_that_share_a_document_stay_together_through_others_too() -> None:
    given = [example(0, "a"), example(1, "b"), example(2, "c"), example(3, "a", "b"), example(4), example(5)]
    assert groups(given) == [[0, 1, 3], [2], [4], [5]]
    assert groups(given, "none") == [[n] for n in range(6)]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=9), st.floats(0.05, 0.95), st.integers(0, 5))
def test_two_parts_are_the_nearest_that_whole_groups_allow(sizes: list[int], share: float, seed: int) -> None:
    places = iter(range(sum(sizes)))
    grouped = [list(itertools.islice(places, size)) for size in sizes]
    parts = split(grouped, {"train": share, "test": 1 - share}, seed)
    assert sorted(parts["train"] + parts["test"]) == list(range(sum(sizes)))
    reachable = {sum(sizes[n] for n in chosen) for r in range(1, len(sizes)) for chosen in itertools.combinations(range(len(sizes)), r)}
    wanted = share * sum(sizes)
    nearest = min(abs(size - wanted) for size in reachable)
    assert abs(len(parts["train"]) - wanted) == pytest.approx(nearest)
    for group in grouped:
        assert len({name for name, chosen in parts.items() if set(group) & set(chosen)}) == 1


@given(st.lists(st.integers(1, 5), min_size=4, max_size=12), st.integers(0, 3))
def test_no_part_is_empty(sizes: list[int], seed: int) -> None:
    places = iter(range(sum(sizes)))
    grouped = [list(itertools.islice(places, size)) for size in sizes]
    parts = split(grouped, {"a": 0.9, "b": 0.04, "c": 0.03, "d": 0.03}, seed)
    assert all(parts.values())
    assert sorted(itertools.chain(*parts.values())) == list(range(sum(sizes)))


def test_the_seed_draws_and_the_order_of_the_parts_does_not_matter() -> None:
    grouped = [[n] for n in range(100)]
    first = split(grouped, {"train": 0.9, "test": 0.1}, 1)
    assert first == split(grouped, {"test": 0.1, "train": 0.9}, 1)
    assert first != split(grouped, {"train": 0.9, "test": 0.1}, 2)
    assert {name: len(places) for name, places in first.items()} == {"train": 90, "test": 10}


def test_many_small_groups_are_split_fast() -> None:
    started = time.monotonic()
    parts = split([[n] for n in range(200_000)], {"train": 0.8, "test": 0.1, "dev": 0.1})
    assert {name: len(places) for name, places in parts.items()} == {"train": 160_000, "test": 20_000, "dev": 20_000}
    assert time.monotonic() - started < 5


def test_too_few_groups_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(StepError) as caught:
        split(groups([example(n, "only") for n in range(9)]), {"train": 0.9, "test": 0.1})
    assert str(caught.value) == (
        "parts: 1 group of examples that share no document cannot fill 2 parts\n"
        "  add documents, ask for fewer parts, or set `group_by: none` (test questions then come from training documents)"
    )


def test_leakage_by_document_question_and_near_question() -> None:
    here = [
        example(0, "a"),
        example(1, question="What is the rank of LoRA?"),
        example(2, question="How large is the key-value cache of a model with 36 layers?"),
        example(3, question="Something that stands alone entirely."),
    ]
    there = [
        example(10, "b", "a"),
        example(11, question="what is the rank of lora"),
        example(12, question="How large is the key-value cache of a model with 48 layers?"),
    ]
    found = leakage(here, there)
    assert (found.document, found.question, found.near_question, found.any) == (0.25, 0.25, 0.5, 0.75)
    assert found.pairs == [("e0", "e10", "document"), ("e1", "e11", "question"), ("e2", "e12", "near_question")]
    assert leakage(here, there, near=0.99).near_question == 0.25
    assert leakage(here, []).any == 0


@given(
    st.lists(st.text(alphabet="abc ", min_size=1, max_size=14), max_size=8),
    st.lists(st.text(alphabet="abc ", min_size=1, max_size=14), max_size=8),
    st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
def test_near_duplicates_are_those_of_comparing_all(texts: list[str], others: list[str], near: float) -> None:
    from runner.datasets.leakage import _grams

    expected = {
        n: next(m for m, b in enumerate(others) if len(_grams(a) & _grams(b)) >= near * len(_grams(a) | _grams(b)))
        for n, a in enumerate(texts)
        if any(len(_grams(a) & _grams(b)) >= near * len(_grams(a) | _grams(b)) for b in others)
    }
    assert dict(near_duplicates(texts, others, near)) == expected

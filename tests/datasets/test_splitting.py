from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.datasets import groups, split
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


@given(st.lists(st.integers(1, 30), min_size=3, max_size=7), st.lists(st.integers(1, 20), min_size=3, max_size=4), st.integers(0, 3))
def test_more_parts_are_the_nearest_there_are(sizes: list[int], weights: list[int], seed: int) -> None:
    weights = weights[: len(sizes)]
    shares = {f"part{n}": weight / sum(weights) for n, weight in enumerate(weights)}
    places = iter(range(sum(sizes)))
    parts = split([list(itertools.islice(places, size)) for size in sizes], shares, seed)

    def off(found: list[int]) -> float:
        return sum(abs(size - share * sum(sizes)) for size, share in zip(found, shares.values(), strict=True))

    ways = itertools.product(range(len(shares)), repeat=len(sizes))
    totals = ([sum(size for size, part in zip(sizes, way, strict=True) if part == n) for n in range(len(shares))] for way in ways)
    assert off([len(places) for places in parts.values()]) == pytest.approx(min(off(found) for found in totals if min(found) > 0))


def test_few_large_groups_are_filled_together() -> None:
    """One by one, dev takes the 11, after which nothing makes the 21 of test."""
    sizes = [11, 10, 10, 12, 57]
    places = iter(range(100))
    parts = split([list(itertools.islice(places, size)) for size in sizes], {"dev": 0.12, "test": 0.21, "train": 0.67})
    assert {name: len(found) for name, found in parts.items()} == {"dev": 12, "test": 21, "train": 67}


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
        "parts: 1 group of examples that must stay together cannot fill 2 parts\n"
        "  add documents, ask for fewer parts, or set `group_by: none` (test questions then come from training documents)"
    )

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.datasets.folding import fold
from runner.datasets.near_duplicates import MISSED, NearDuplicates, banding


def jaccard(one: str, other: str) -> float:
    """By definition: sets of all 5-grams of bytes."""
    grams = [
        {text[start : start + 5] for start in range(len(text) - 4)}
        for text in (fold(raw).encode("utf-8", "surrogatepass").ljust(5, b"\0") for raw in (one, other))
    ]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


words = st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "注意", "ध्यान"]), min_size=1, max_size=8).map(
    " ".join
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=8) | words, max_size=12), st.sampled_from([0.1, 0.3, 0.5, 0.8, 0.95, 1.0]))
def test_what_stays_is_not_alike_and_what_goes_is(texts: list[str], near: float) -> None:
    search = NearDuplicates(texts, near)
    repeats = search.repeats()
    stay = [place for place in range(len(texts)) if place not in repeats]
    for place, twin in repeats.items():
        assert twin < place
        assert twin in stay
        assert jaccard(texts[place], texts[twin]) >= near
    for number, place in enumerate(stay):  # each pair is missed with a probability of at most 0.001, at the very threshold
        assert all(jaccard(texts[place], texts[other]) < near + 0.1 for other in stay[:number])


@settings(max_examples=60, deadline=None)
@given(st.lists(words, max_size=10), st.lists(words, max_size=10))
def test_twins_between_two_sets_are_those_of_comparing_all(texts: list[str], others: list[str]) -> None:
    search = NearDuplicates([*texts, *others], 0.7)
    found = search.twins(range(len(texts)), range(len(texts), len(texts) + len(others)))
    for place, text in enumerate(texts):
        best = max((jaccard(text, other) for other in others), default=0.0)
        assert place in found or best < 0.75
        if place in found:
            assert jaccard(text, others[found[place] - len(texts)]) >= 0.7
            assert search.similarity(place, found[place]) == pytest.approx(jaccard(text, others[found[place] - len(texts)]))


@pytest.mark.parametrize("near", [0.5, 0.8, 0.9])
def test_pairs_at_the_threshold_are_missed_as_seldom_as_stated(near: float) -> None:
    """3,000 pairs just above the threshold: about ``MISSED`` of them are no candidates."""
    draw = random.Random(1)
    texts: list[str] = []
    for _ in range(3000):
        size = draw.randint(60, 120)
        text = "".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(size))
        # of two texts with n + k grams each, n of them shared, the similarity is n / (n + 2 k)
        changed = int((size - 4) * (1 - near) / (1 + near))
        end = "".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(changed))
        texts += [text, text[: size - changed] + end]
    assert all(near <= jaccard(texts[place], texts[place + 1]) < near + 0.08 for place in range(0, 6000, 2))
    missed = 3000 - len(NearDuplicates(texts, near).repeats())
    assert missed <= 3000 * MISSED * 3


def test_banding_keeps_its_promise() -> None:
    for near in (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0):
        rows, bands = banding(near)
        assert (1 - near**rows) ** bands <= MISSED
        assert rows * bands <= 640
    with pytest.raises(ValueError, match=r"near is 0\.05"):
        NearDuplicates([], 0.05)


def test_short_texts_scripts_and_signs() -> None:
    texts = [
        "",
        "a",
        "b",
        "A!",
        "注意力机制是什么",
        "注意力机制是什么?",
        "优化器是什么",
        "👍",
        "👎",
        "की",
        "का",
        "\ud800",
        "x ≤ y",
        "x ≥ y",
    ]
    assert NearDuplicates(texts).repeats() == {3: 1, 5: 4}
    assert NearDuplicates([]).repeats() == {}


def test_a_crowd_of_equal_texts_and_a_progress_that_ends() -> None:
    seen: list[tuple[int, int]] = []
    texts = [f"What is the role of attention in layer {number % 3}?" for number in range(20_000)]
    search = NearDuplicates(texts, 0.99, lambda done, total: seen.append((done, total)))
    assert len(search.repeats()) == 20_000 - 3
    assert len(search.twins(range(10_000), range(10_000, 20_000))) == 10_000
    assert seen[-1] == (3, 3)
    assert search.repeats(range(5, 9)) == {8: 5}


def test_texts_that_share_much_but_not_enough_are_told_apart_without_comparing_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)
    vocabulary = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(2000)]
    instruction = " ".join(chance.choices(vocabulary, k=60))
    search = NearDuplicates([f"{instruction} {' '.join(chance.choices(vocabulary, k=18))}" for _ in range(300)], 0.8)
    compared = 0

    def jaccard(self: NearDuplicates, one: int, other: int) -> float:
        nonlocal compared
        compared += 1
        return similarity(self, one, other)

    similarity = NearDuplicates._jaccard
    monkeypatch.setattr(NearDuplicates, "_jaccard", jaccard)
    assert search.repeats() == {}
    assert 0.5 < search.similarity(0, 1) < 0.75
    assert compared < 300  # of some 15,000 that share a bucket


def test_only_texts_of_equal_contexts_are_compared() -> None:
    texts, contexts = (
        ["Is it positive?", "is it positive", "Is it positive?", "What is it about?"],
        ["A film.", "a film", "Another.", "A film."],
    )
    assert NearDuplicates(texts, within=contexts).repeats() == {1: 0}
    assert NearDuplicates(texts).repeats() == {1: 0, 2: 0}

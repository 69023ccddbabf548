from __future__ import annotations

from collections import Counter

from runner.datasets import draw


def test_a_draw_keeps_the_order_and_follows_its_seed() -> None:
    drawn = draw(range(1000), 20, 3)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 20
    assert drawn == draw(iter(range(1000)), 20, 3) != draw(range(1000), 20, 4)
    assert draw(range(5), 9) == [0, 1, 2, 3, 4]


def test_every_item_has_the_same_chance() -> None:
    counts = Counter(item for seed in range(3000) for item in draw(range(6), 2, seed))
    assert all(abs(counts[item] - 1000) < 120 for item in range(6))  # four standard deviations and more

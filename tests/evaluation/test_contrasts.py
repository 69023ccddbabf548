"""Which ingredient helped, and whether it helps more beside another."""

from __future__ import annotations

import numpy as np
import pytest

from runner.evaluation.aggregates import mean
from runner.evaluation.arms import Arm
from runner.evaluation.bootstrap import Resampling, Table, differences, intervals
from runner.evaluation.effects import interactions
from runner.evaluation.metrics import Bleu
from runner.evaluation.scoring import score
from tests.evaluation.test_scoring import ARMS, rows


def cross(rights: dict[tuple[str, str], int]) -> list[Arm]:
    return [Arm({"system": system, "rag": rag}, rows(right=right)) for (system, rag), right in rights.items()]


def test_effects_are_averages_over_arms_that_differ_in_nothing_else() -> None:
    arms = cross({("base", "none"): 4, ("base", "index"): 8, ("tuned", "none"): 12, ("tuned", "index"): 20})
    scored = score(arms, ["exact_match"], baseline={"system": "base", "rag": "none"})
    found = {effect["axis"]: effect for effect in scored.document["effects"]}
    assert found["system"]["difference"] == pytest.approx((20 + 30) / 2)
    assert found["rag"]["difference"] == pytest.approx((10 + 20) / 2)
    assert {effect["pairs"] for effect in found.values()} == {2}
    assert all(effect["low"] < effect["difference"] < effect["high"] and effect["p"] < 0.05 for effect in found.values())
    assert found["rag"]["p"] <= found["rag"]["p_adjusted"] <= 2 * found["rag"]["p"]
    assert (found["rag"]["better"], found["rag"]["worse"], found["rag"]["ties"]) == (12, 0, 28)
    lone = {effect["axis"]: effect for effect in score(arms[:2] + arms[3:], ["exact_match"]).document["effects"]}
    assert (lone["system"]["pairs"], lone["system"]["difference"]) == (1, 30)  # tuned without an index is missing
    apart = score([arms[0], arms[3]], ["exact_match"]).document["effects"]
    assert [(effect["axis"], effect["pairs"], effect.get("difference")) for effect in apart] == [("system", 0, None), ("rag", 0, None)]
    assert score(ARMS[:2], ["exact_match"]).document["effects"] == []  # one axis: the paired differences say it


def test_an_effect_of_one_pair_is_that_paired_difference() -> None:
    arms = cross({("base", "none"): 4, ("base", "index"): 8, ("tuned", "none"): 12})
    document = score(arms, ["exact_match", "bleu"], baseline={"system": "base", "rag": "none"}).document
    for effect in document["effects"]:
        [pair] = [p for p in document["paired"] if p["metric"] == effect["metric"] and p["arm"][effect["axis"]] == effect["to"]]
        assert {name: effect[name] for name in ("difference", "low", "high", "p", "n")} == {
            name: pair[name] for name in ("difference", "low", "high", "p", "n")
        }


#: Right answers of 40, by system and by rag; the second helps the tuned one by 20 points and the base by 10.
SQUARE = {("base", "none"): 4, ("base", "index"): 8, ("tuned", "none"): 12, ("tuned", "index"): 20}
NOTHING = {"system": "base", "rag": "none"}


def test_an_interaction_is_the_difference_of_two_differences() -> None:
    document = score(cross(SQUARE), ["exact_match", "held_out_loss"], baseline=NOTHING).document
    exact, loss = document["interactions"]
    assert {name: exact[name] for name in ("metric", "axes", "from", "to", "squares")} == {
        "metric": "exact_match", "axes": ["system", "rag"], "from": ["base", "none"], "to": ["tuned", "index"], "squares": 1,
    }  # fmt: skip
    assert exact["difference"] == pytest.approx((50 - 30) - (20 - 10))
    assert exact["low"] < exact["difference"] < exact["high"]
    # Items 4 to 7 are right by the index alone in the base (-1), 12 to 19 in the tuned one (+1).
    assert (exact["better"], exact["worse"], exact["ties"], exact["n"]) == (8, 4, 28, 40)
    assert exact["p"] == pytest.approx(exact["p_adjusted"])
    means = {(arm["axes"]["system"], arm["axes"]["rag"]): arm["values"]["held_out_loss"]["mean"] for arm in document["arms"]}
    gains = [means[system, "index"] - means[system, "none"] for system in ("base", "tuned")]
    assert loss["difference"] == pytest.approx(gains[1] - gains[0])
    turned = score(cross(SQUARE), ["exact_match"], baseline={"system": "tuned", "rag": "none"}).document["interactions"]
    assert turned[0]["difference"] == -exact["difference"]


def test_the_p_value_of_an_interaction_is_the_sign_flip_of_the_items_contrasts() -> None:
    from scipy.stats import permutation_test

    document = score(cross(SQUARE), ["exact_match"], baseline=NOTHING, resampling=Resampling(20_000)).document
    first, second = np.zeros(40), np.zeros(40)
    first[12:20], second[4:8] = 100, 100
    theirs = permutation_test(
        (first, second),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=0,
    )
    assert document["interactions"][0]["p"] == pytest.approx(theirs.pvalue, abs=0.02)


def test_there_is_an_interaction_only_where_there_are_four_arms() -> None:
    three = {cell: right for cell, right in SQUARE.items() if cell != ("tuned", "none")}
    assert score(cross(three), ["exact_match"]).document["interactions"] == []
    assert score(ARMS[:2], ["exact_match"]).document["interactions"] == []
    levels = cross({(system, rag): n for n, system in enumerate("abc") for rag in ("none", "index", "all")})
    found = score(levels, ["exact_match"], baseline={"system": "b", "rag": "none"}).document["interactions"]
    assert [(row["from"], row["to"]) for row in found] == [
        (["b", "none"], [system, rag]) for system in "ac" for rag in ("index", "all")
    ]  # fmt: skip
    assert all(row["p"] <= row["p_adjusted"] for row in found)


def test_an_interaction_is_averaged_over_what_else_differs() -> None:
    arms = [
        Arm({"system": system, "rag": rag, "size": size}, rows(right=right + (10 if (system, rag, size) == ("tuned", "index", "l") else 0)))
        for size in ("s", "l")
        for (system, rag), right in SQUARE.items()
    ]
    [asked] = [each for each in interactions(arms, None) if (each.first.axis, each.second.axis) == ("system", "rag")]
    assert asked.squares == [(0, 2, 1, 3), (4, 6, 5, 7)]
    document = score(arms, ["exact_match"]).document
    [found] = [row for row in document["interactions"] if row["axes"] == ["system", "rag"]]
    assert (found["squares"], found["difference"]) == (2, pytest.approx((10 + 35) / 2))


def test_losses_of_two_tokenizers_have_no_interaction() -> None:
    arms = cross(SQUARE)
    other = [{**row, "reference_tokens": row["reference_tokens"] + 1} for row in arms[2].rows]
    arms[2:] = [Arm(arm.axes, other) for arm in arms[2:]]
    found = score(arms, ["held_out_loss", "exact_match"]).document["interactions"]
    assert [row["metric"] for row in found] == ["exact_match"]


def test_an_interaction_of_corpus_bleu_is_made_of_corpus_figures() -> None:
    arms = cross(SQUARE)
    [found] = score(arms, ["bleu"]).document["interactions"]
    columns = [Bleu().columns(arm.rows) for arm in arms]
    a, b, c, d = (Bleu().compute(**column)["bleu"] for column in columns)
    assert found["difference"] == pytest.approx((d - c) - (b - a))


def interacting(generator: np.random.Generator, more: float) -> Table:
    """Four arms of two ingredients that both help much, and together ``more``; the errors are skewed."""
    ease = generator.normal(50, 20, 60)
    scores = np.stack([ease + gain + generator.exponential(8, 60) for gain in (0.0, 10.0, 20.0, 30.0 + more)])
    return Table(scores[:, :, None], scores, mean)


def test_ingredients_that_add_up_are_rarely_said_to_interact() -> None:
    generator = np.random.default_rng(11)
    p_values, covered = [], 0
    trials = 800
    for trial in range(trials):
        arms, resampling = interacting(generator, 0.0), Resampling(300, 0.95, trial)
        [(_, drawn)] = intervals([arms], resampling)
        [[found]] = differences([arms], [drawn], [[[(2, 3), (1, 0)]]], resampling, 2.0)
        p_values.append(found.p)
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / trials <= 0.97
    assert 0.03 <= np.mean(np.array(p_values) <= 0.05) <= 0.07
    arms = interacting(generator, 12.0)
    [(_, drawn)] = intervals([arms], Resampling())
    [[found]] = differences([arms], [drawn], [[[(2, 3), (1, 0)]]], Resampling(), 2.0)
    assert 0 < found.low < 12 < found.high


def test_too_few_draws_for_the_comparisons_are_said() -> None:
    def many(count: int, samples: int) -> list[str]:
        arms = [Arm({"system": str(n)}, rows(right=n)) for n in range(count)]
        return list(score(arms, ["exact_match"], baseline={"system": "0"}, resampling=Resampling(samples)).warnings)

    assert many(6, 100) == []  # 5 times 1 / 101 is below 0.05
    assert many(7, 100) == ["6 p values of 100 draws, corrected for their number, are no less than 0.059: raise `samples` to 1,200"]
    assert many(7, 1200) == []

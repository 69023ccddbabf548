"""Intervals and tests are checked by simulation: they must be right as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from runner.evaluation.aggregates import corpus_bleu, mean, weighted_mean
from runner.evaluation.bootstrap import Paired, Resampling, Table, differences, holm, intervals, paired
from runner.evaluation.metrics import Bleu

TRIALS = 1000


def table(*arms: np.ndarray) -> Table:  # type: ignore[type-arg]
    scores = np.stack(arms)
    return Table(scores[:, :, None], scores, mean)


def compare(*tables: Table, resampling: Resampling | None = None) -> list[Paired]:
    resampling = resampling or Resampling()
    return [pairs[0] for pairs in paired(tables, [drawn for _, drawn in intervals(tables, resampling)], 0, resampling)]


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(TRIALS):  # a skewed score between 0 and 100, as F1 is; its mean is 100 * 2 / (2 + 3)
        [([interval], _)] = intervals([table(100 * generator.beta(2, 3, 120))], Resampling(400, 0.95, trial))
        covered += interval.low <= 40 <= interval.high
    assert 0.93 <= covered / TRIALS <= 0.97


def test_paired_intervals_cover_the_true_difference_and_narrower_than_unpaired_ones() -> None:
    generator = np.random.default_rng(2)
    covered, widths = 0, []
    for trial in range(TRIALS):
        ease = generator.normal(50, 20, 100)
        base, tuned = ease + generator.normal(0, 5, 100), ease + generator.normal(1, 5, 100)
        resampling = Resampling(400, 0.95, trial)
        [([interval, _], drawn)] = intervals([table(base, tuned)], resampling)
        [[pair]] = paired([table(base, tuned)], [drawn], 0, resampling)
        covered += pair.low <= 1 <= pair.high
        widths.append((pair.high - pair.low) / (interval.high - interval.low))
    assert 0.93 <= covered / TRIALS <= 0.97
    assert np.mean(widths) < 0.5


def test_false_positives_are_as_rare_as_they_should_be() -> None:
    generator = np.random.default_rng(3)
    p_values, outside = [], 0
    for trial in range(TRIALS):
        ease = generator.beta(2, 3, 80)
        base, same = (100 * np.clip(ease + generator.normal(0, 0.2, 80), 0, 1) for _ in range(2))
        [pair] = compare(table(base, same), resampling=Resampling(400, 0.95, trial))
        p_values.append(pair.p)
        outside += not pair.low <= 0 <= pair.high
    assert 0.03 <= outside / TRIALS <= 0.07
    assert 0.03 <= np.mean(np.array(p_values) <= 0.05) <= 0.07
    assert np.quantile(p_values, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.06)  # uniform under no difference


def test_an_ingredient_that_does_nothing_is_rarely_said_to_help() -> None:
    """Four arms of two axes, of which only the first does something: the effect of the second is null."""
    generator = np.random.default_rng(10)
    p_values, outside = [], 0
    for trial in range(TRIALS):
        ease = generator.normal(50, 20, 60)
        arms = table(*(ease + gain + generator.normal(0, 8, 60) for gain in (0, 0, 10, 10)))
        resampling = Resampling(300, 0.95, trial)
        drawn = [figures for _, figures in intervals([arms], resampling)]
        [[null, real]] = differences([arms], drawn, [[[(0, 1), (2, 3)], [(0, 2), (1, 3)]]], resampling)
        p_values.append(null.p)
        outside += not null.low <= 0 <= null.high
        assert real.low > 0
    assert 0.03 <= outside / TRIALS <= 0.07
    assert 0.03 <= np.mean(np.array(p_values) <= 0.05) <= 0.07


def test_a_real_difference_is_found() -> None:
    generator = np.random.default_rng(4)
    ease = generator.normal(50, 20, 200)
    [pair] = compare(table(ease, ease + generator.normal(3, 5, 200)))
    assert pair.low > 0
    assert pair.p == pytest.approx(1 / 1001)
    assert pair.better + pair.worse + pair.ties == pair.n == 200
    assert pair.better > pair.worse


def test_intervals_agree_with_scipy() -> None:
    from scipy.stats import bootstrap

    values = 100 * np.random.default_rng(5).beta(2, 5, 300)
    [([ours], _)] = intervals([table(values)], Resampling(20_000))
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.1)


def test_the_sign_flip_p_value_agrees_with_scipy() -> None:
    from scipy.stats import permutation_test

    generator = np.random.default_rng(6)
    base = generator.normal(0, 1, 40)
    tuned = base + generator.normal(0.25, 1, 40)
    [ours] = compare(table(base, tuned), resampling=Resampling(20_000))
    theirs = permutation_test(
        (tuned, base), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True, n_resamples=20_000, rng=0
    )
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.02)


def test_the_same_draws_serve_every_metric_and_arm() -> None:
    generator = np.random.default_rng(7)
    a, b, c, d = generator.normal(0, 1, (4, 50))
    together = compare(table(a, b), table(c, d))
    assert together == [*compare(table(a, b)), *compare(table(c, d))]
    [three] = paired([table(a, b, c)], [intervals([table(a, b, c)], Resampling())[0][1]], 0, Resampling())
    assert three[0] == together[0]
    shorter = table(c[:30], d[:30])
    assert compare(table(a, b), shorter) == [together[0], *compare(shorter)]


def test_blocks_of_draws_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(8).integers(0, 100, (2, 64)).astype(float)
    whole = compare(table(*values))
    monkeypatch.setattr("runner.evaluation.bootstrap._CELLS", 64 * 7)
    assert compare(table(*values)) == whole


def test_corpus_bleu_is_resampled_as_a_corpus() -> None:
    import sacrebleu

    generator = np.random.default_rng(9)
    words = np.array(["gpu", "memory", "expert", "router", "token", "layer", "rank"])
    references = [" ".join(generator.choice(words, 12)) for _ in range(25)]
    good, bad = ([" ".join(w if generator.random() < kept else "x" for w in r.split()) for r in references] for kept in (0.95, 0.7))
    items = [Bleu().items(predictions=arm, references=references) for arm in (bad, good)]
    bleu = Table(np.stack([part[1] for part in items]), np.stack([part[0] for part in items]), corpus_bleu)
    resampling = Resampling(samples=200)
    [([low, high], drawn)] = intervals([bleu], resampling)
    assert high.mean == pytest.approx(sacrebleu.corpus_bleu(good, [references]).score)
    assert low.low < low.mean < low.high < high.low < high.mean < high.high
    draws = np.random.default_rng([0, 1])
    for draw in range(5):  # by hand: the corpus of each draw
        chosen = draws.integers(0, 25, 25)
        assert drawn[draw, 1] == pytest.approx(sacrebleu.corpus_bleu([good[i] for i in chosen], [[references[i] for i in chosen]]).score)
    [pair] = paired([bleu], [drawn], 0, resampling)[0]
    assert pair.low > 0
    assert pair.p < 0.05


def test_weighted_means_and_directions() -> None:
    losses, tokens = np.array([[1.0, 3.0], [0.5, 3.0]]), np.array([[1.0, 3.0], [1.0, 3.0]])
    loss = Table(np.stack([losses * tokens, tokens], axis=2), losses, weighted_mean, higher_is_better=False)
    [([base, tuned], _)] = intervals([loss], Resampling())
    assert (base.mean, tuned.mean) == (2.5, 2.375)
    [pair] = compare(loss)
    assert (pair.difference, pair.better, pair.worse, pair.ties) == (-0.125, 1, 0, 1)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.02, 0.001, 0.02], [0.04, 0.003, 0.04]),
    ],
)
def test_holm(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted)


def test_the_p_value_of_right_or_wrong_is_mcnemars_exact_test() -> None:
    from scipy.stats import binomtest

    base, tuned = np.zeros(60), np.zeros(60)
    base[:5], tuned[5:19], tuned[30:], base[30:] = 100, 100, 100, 100  # 5 against 14; the rest are ties
    [ours] = compare(table(base, tuned), resampling=Resampling(50_000))
    assert (ours.better, ours.worse, ours.ties) == (14, 5, 41)
    assert ours.p == pytest.approx(binomtest(5, 19).pvalue, abs=0.005)


@pytest.mark.parametrize(
    ("share", "n", "least"),
    [(0.8, 30, 0.93), (0.95, 100, 0.93), (0.95, 30, 0.75)],  # the last: no wrong answer among 30 is 21 % likely
)
def test_intervals_of_a_share_cover_it(share: float, n: int, least: float) -> None:
    """Accuracies: the documentation says where the intervals are too narrow, and how much."""
    generator = np.random.default_rng(12)
    covered, trials = 0, 500
    for trial in range(trials):
        right = 100 * (generator.random(n) < share).astype(float)
        [([interval], _)] = intervals([table(right)], Resampling(300, 0.95, trial))
        covered += interval.low - 1e-9 <= 100 * share <= interval.high + 1e-9
    assert least <= covered / trials <= (0.98 if least > 0.9 else 0.85)


def test_differences_of_right_and_wrong_are_as_rarely_false_as_they_should_be() -> None:
    generator = np.random.default_rng(13)
    positive, outside, trials = 0, 0, 600
    for trial in range(trials):
        ease = generator.random(100)
        base, same = (100 * (generator.random(100) < 0.3 + 0.6 * ease).astype(float) for _ in range(2))
        [pair] = compare(table(base, same), resampling=Resampling(300, 0.95, trial))
        positive += pair.p <= 0.05
        outside += not pair.low <= 0 <= pair.high
    assert positive / trials <= 0.07  # exact tests of few values are cautious
    assert 0.03 <= outside / trials <= 0.07


def test_intervals_of_a_loss_cover_the_loss_over_all_tokens() -> None:
    """Long references are easier here, so that the mean over items would be another figure: 2.5 nats, not 2.333."""
    generator = np.random.default_rng(14)
    covered, trials, truth = 0, 500, (10 * 3 + 20 * 2) / 30
    for trial in range(trials):
        long = generator.random(100) < 0.5
        tokens, losses = np.where(long, 20.0, 10.0), np.where(long, 2.0, 3.0) + generator.normal(0, 0.7, 100)
        arm = Table(np.stack([losses * tokens, tokens], axis=1)[None], losses[None], weighted_mean)
        [([interval], _)] = intervals([arm], Resampling(300, 0.95, trial))
        covered += interval.low <= truth <= interval.high
    assert 0.93 <= covered / trials <= 0.97


def test_among_many_arms_that_do_not_differ_holm_rarely_finds_one() -> None:
    generator = np.random.default_rng(15)
    plain, corrected, trials = 0, 0, 400
    for trial in range(trials):
        ease = generator.normal(50, 20, 60)
        arms, resampling = table(*(ease + generator.normal(0, 8, 60) for _ in range(9))), Resampling(300, 0.95, trial)
        [found] = paired([arms], [intervals([arms], resampling)[0][1]], 0, resampling)
        p_values = [each.p for each in found]
        plain += min(p_values) <= 0.05
        corrected += min(holm(p_values)) <= 0.05
    assert plain / trials > 0.15
    assert corrected / trials <= 0.07

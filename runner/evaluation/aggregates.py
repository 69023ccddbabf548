"""From per-item statistics to one figure of an arm.

Every metric keeps a short row of numbers per item, and its figure is a function of the sum of these rows. A bootstrap
draw is then a weighted sum, so that all draws are one matrix product. The statistics are:

- ``mean``: (value,); the figure is the mean over items.
- ``weighted mean``: (value * weight, weight); the figure is the ratio of the sums.
- ``exp of weighted mean``: the same.
- ``corpus BLEU``: (answer length, reference length, 4 matched n-gram counts, 4 n-gram counts).
- ``corpus chrF``: (answer, reference and matched n-gram counts) of 6 orders.
- ``intercept``: (y, x, x y, x x); the figure is the least-squares line's y at x = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

#: Sums of statistics (..., width) and the number of items to figures (...).
Aggregate = Callable[[Array, int], Array]


def mean(totals: Array, items: int) -> Array:
    """(..., 1) to (...)."""
    figures: Array = totals[..., 0] / items
    return figures


def weighted_mean(totals: Array, items: int) -> Array:
    """(..., 2) to (...)."""
    figures: Array = totals[..., 0] / totals[..., 1]
    return figures


def corpus_bleu(totals: Array, items: int) -> Array:
    """(..., 10) to (...), 0 to 100: sacreBLEU's corpus score with its default smoothing ``exp``, for many corpora at once.

    Papineni et al. (2002); an n-gram order without a match counts as 1 / (2 ** k * n-grams), k the number of such orders
    up to it (NIST, as in mteval-v13a), and a corpus without any match is 0.
    """
    answers, references, matched, counts = totals[..., 0], totals[..., 1], totals[..., 2:6], totals[..., 6:10]
    with np.errstate(divide="ignore", invalid="ignore"):
        unmatched = np.cumsum(matched == 0, axis=-1)
        precisions = np.where(matched > 0, matched, 0.5**unmatched) / counts
        geometric = np.exp(np.log(precisions).mean(axis=-1))
        brevity = np.where(answers < references, np.exp(1 - references / answers), 1.0)
        figures = 100 * brevity * geometric
    scored = (matched > 0).any(axis=-1) & (counts > 0).all(axis=-1)
    bleu: Array = np.where(scored, figures, 0.0)
    return bleu


def exp_of_weighted_mean(totals: Array, items: int) -> Array:
    """(..., 2) to (...)."""
    figures: Array = np.exp(np.minimum(weighted_mean(totals, items), 700.0))
    return figures


def corpus_chrf(totals: Array, items: int) -> Array:
    """(..., 18) to (...), 0 to 100: sacreBLEU's corpus score, for many corpora at once.

    Popović (2015) with beta 2: precision and recall are averaged over the orders that both sides have, then combined.
    """
    counts = totals.reshape(*totals.shape[:-1], 6, 3)
    answers, references, matched = counts[..., 0], counts[..., 1], counts[..., 2]
    has = (answers > 0) & (references > 0)
    orders = np.maximum(has.sum(axis=-1), 1)
    precision = np.where(has, matched / np.where(answers > 0, answers, 1), 0).sum(axis=-1) / orders
    recall = np.where(has, matched / np.where(references > 0, references, 1), 0).sum(axis=-1) / orders
    weighted = 4 * precision + recall
    chrf: Array = np.where(weighted > 0, 100 * 5 * precision * recall / np.where(weighted > 0, weighted, 1), 0.0)
    return chrf


def intercept(totals: Array, items: int) -> Array:
    """(..., 4) to (...), 0 to 100: the mean of y where x does not vary."""
    y, x, xy, xx = (totals[..., column] / items for column in range(4))
    variance = xx - x * x
    varies = variance > 1e-12
    slope = np.where(varies, (xy - x * y) / np.where(varies, variance, 1), 0.0)
    figures: Array = np.clip(y - slope * x, 0.0, 100.0)
    return figures


AGGREGATES: dict[str, Aggregate] = {
    "mean": mean,
    "weighted mean": weighted_mean,
    "exp of weighted mean": exp_of_weighted_mean,
    "corpus BLEU": corpus_bleu,
    "corpus chrF": corpus_chrf,
    "intercept": intercept,
}

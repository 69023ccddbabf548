"""From per-item statistics to one figure of an arm.

Every metric keeps a short row of numbers per item, and its figure is a function of the sum of these rows. A bootstrap
draw is then a weighted sum, so that all draws are one matrix product. The statistics are:

- ``mean``: (value,); the figure is the mean over items.
- ``weighted mean``: (value * weight, weight); the figure is the ratio of the sums.
- ``corpus BLEU``: (answer length, reference length, 4 matched n-gram counts, 4 n-gram counts).
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


AGGREGATES: dict[str, Aggregate] = {"mean": mean, "weighted mean": weighted_mean, "corpus BLEU": corpus_bleu}

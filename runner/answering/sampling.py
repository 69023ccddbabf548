"""How the next token is chosen: one rule for all forms of a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runner.answering.answerer import Generation


def draws(generation: Generation, number: int) -> np.random.Generator:
    """The generator of the answer with this number: it depends on no other answer, and so not on what is answered together."""
    return np.random.default_rng([generation.seed, number])


def choose(logits: NDArray[Any], generation: Generation, random: np.random.Generator) -> int:
    """The next token from the logits of the whole vocabulary, shape (vocabulary,).

    Temperature 0 takes the likeliest. Above it a token is drawn from the nucleus (Holtzman et al. 2020): the likeliest tokens that
    make up ``top_p`` of the probability at that temperature.
    """
    if generation.temperature == 0:
        return int(logits.argmax())
    weights = logits.astype(np.float64) / generation.temperature
    np.exp(weights - weights.max(), out=weights)
    weights /= weights.sum()
    # Tokens of at most this probability make up no more than 1 - top_p, all of them together: no nucleus needs one. Sorting only the
    # others saves most of the time that a draw takes from a vocabulary of 150,000.
    candidates = np.flatnonzero(weights > (1 - generation.top_p) / len(weights))
    order = candidates[np.argsort(-weights[candidates], kind="stable")]
    sums = np.cumsum(weights[order])
    kept = min(int(np.searchsorted(sums, generation.top_p)) + 1, len(order))
    drawn = int(np.searchsorted(sums[:kept], random.random() * sums[kept - 1], side="right"))
    return int(order[min(drawn, kept - 1)])

"""How improbable a model finds the references: held-out loss, and perplexity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from runner.evaluation.aggregates import Array
from runner.evaluation.metric import Rows, ValueMetric, numbers


class HeldOutLoss(ValueMetric):
    """An arm's figure weighs items by their tokens."""

    key, title, higher_is_better, unit = "held_out_loss", "Held-out loss", False, "nats a token"
    normalisation = "mean negative log-likelihood of the reference's tokens under the model; comparable between models of one tokenizer"
    aggregation = "weighted mean"
    source = "cross-entropy of the reference answers, weighted by their tokens"
    inputs = {"losses": "nats a token", "tokens": "the number of tokens of each reference"}
    lacks = ("reference_loss", "set reference_loss: true in the step that answers, or leave the metric out")

    def columns(self, rows: Rows) -> dict[str, list[Any]]:
        return {
            "losses": numbers([row.get("reference_loss") for row in rows]),
            "tokens": numbers([row.get("reference_tokens") or 0 for row in rows]),
        }

    def items(self, *, losses: Sequence[float], tokens: Sequence[float]) -> tuple[Array, Array]:
        weights = np.array(tokens, dtype=np.float64)
        values = np.where(weights > 0, np.array(losses, dtype=np.float64), np.nan)
        return self._score(values), np.column_stack([values * weights, np.where(np.isnan(values), np.nan, weights)])

    def incomparable(self, first: Rows, second: Rows) -> str:
        """A loss per token means nothing across tokenizers: the same reference must have the same tokens in both."""
        counts = [
            (one["reference_tokens"], other["reference_tokens"])
            for one, other in zip(first, second, strict=True)
            if one.get("reference_loss") is not None and other.get("reference_loss") is not None
        ]
        differing = sum(one != other for one, other in counts)
        return f"{differing} of {len(counts)} references have another number of tokens: their tokenizers differ" if differing else ""

    def _score(self, losses: Array) -> Array:
        return losses


class Perplexity(HeldOutLoss):
    key, title, unit = "perplexity", "Perplexity", "tokens"
    normalisation = "exp of the held-out loss: as unsure as among that many tokens; comparable between models of one tokenizer"
    aggregation = "exp of weighted mean"
    source = "Jelinek et al., 1977: Perplexity, a measure of the difficulty of speech recognition tasks"

    def _score(self, losses: Array) -> Array:
        scores: Array = np.exp(np.minimum(losses, 700.0))
        return scores

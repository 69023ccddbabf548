"""What a metric is: an ``evaluate.Metric`` that keeps a short row of numbers per item, so that it can be resampled by item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import datasets
import evaluate
import numpy as np

from runner.evaluation.aggregates import AGGREGATES, Array

References = Sequence[str] | Sequence[Sequence[str]]
Rows = Sequence[Mapping[str, Any]]


class ItemMetric(evaluate.Metric):  # type: ignore[misc]
    """A metric whose figure is a function of the sum of per-item statistics (:mod:`runner.evaluation.aggregates`)."""

    key: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[int] = 1  # bumped when the same answers would get another figure
    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = "of 100"
    normalisation: ClassVar[str]
    aggregation: ClassVar[str] = "mean"
    source: ClassVar[str]
    #: What answers lack that this metric has no score for, and how to get it.
    lacks: ClassVar[tuple[str, str]]

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    @property
    def name(self) -> str:
        return self.key

    def describe(self) -> dict[str, Any]:
        """What ``scores.json`` says of the metric."""
        fields = ("title", "version", "higher_is_better", "unit", "normalisation", "aggregation", "source")
        return {"name": self.key, **{field: getattr(self, field) for field in fields}}

    def columns(self, rows: Rows) -> dict[str, list[Any]]:
        """The inputs of this metric, from rows of ``answers.jsonl``."""
        raise NotImplementedError

    def items(self, *_: Any, **columns: Any) -> tuple[Array, Array]:
        """Of the metric's columns: scores (n,) and statistics (n, width); NaN where an item has no score."""
        raise NotImplementedError

    def incomparable(self, first: Rows, second: Rows) -> str:
        """Why two arms' figures cannot be compared, given their rows of the same items; empty where they can."""
        return ""

    def _compute(self, **columns: Any) -> dict[str, float]:
        _, statistics = self.items(**columns)
        counted = statistics[~np.isnan(statistics).any(axis=1)]
        if not len(counted):
            return {self.key: float("nan")}
        return {self.key: float(AGGREGATES[self.aggregation](counted.sum(axis=0), len(counted)))}

    def _build_data_dir(self) -> str:
        return ""  # evaluate makes a cache folder in the user's home here; nothing is ever written to it


class TextMetric(ItemMetric):
    """A metric of an answer's text against its reference texts. A question without a reference has no score."""

    lacks = ("reference", "give the examples an answer, or leave the metric out")

    def _info(self) -> Any:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=f"{self.title}. {self.normalisation}",
            citation=self.source,
            inputs_description="predictions: texts; references: for each a text, or a list of texts of which the best counts",
            features=[
                datasets.Features({"predictions": text, "references": text}),
                datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
            ],
        )

    def columns(self, rows: Rows) -> dict[str, list[Any]]:
        return {"predictions": [row["answer"] for row in rows], "references": [references(row) for row in rows]}

    def items(self, *, predictions: Sequence[str], references: References) -> tuple[Array, Array]:
        score = self.scorer()
        values = np.array([100 * score(answer, wanted) if wanted else np.nan for answer, wanted in paired(predictions, references)])
        return values, values[:, None]

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        """A function of an answer and its references, 0 to 1 or NaN."""
        raise NotImplementedError


class ValueMetric(ItemMetric):
    """A metric of numbers that were measured before: ``inputs`` names the columns and says what each holds, NaN for nothing."""

    inputs: ClassVar[Mapping[str, str]]

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=f"{self.title}. {self.normalisation}",
            citation=self.source,
            inputs_description="; ".join(f"{name}: {what}" for name, what in self.inputs.items()),
            features=datasets.Features({name: datasets.Value("float64") for name in self.inputs}),
        )


def references(row: Mapping[str, Any]) -> list[str]:
    """All answers that are right of a row of ``answers.jsonl``; none where the question has no reference."""
    return list(row.get("answers") or filter(None, [row["reference"]]))


def paired(predictions: Sequence[str], references: References) -> list[tuple[str, list[str]]]:
    """Answers with their references as lists."""
    return [(answer, [wanted] if isinstance(wanted, str) else list(wanted)) for answer, wanted in zip(predictions, references, strict=True)]


def numbers(values: Sequence[float | None]) -> list[float]:
    """NaN for nothing."""
    return [float("nan") if value is None else float(value) for value in values]

"""What was retrieved for a question, and how far the answer keeps to it: hit@k, mean reciprocal rank, groundedness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from runner.evaluation.aggregates import Array
from runner.evaluation.answers import normalise
from runner.evaluation.metric import ItemMetric, Rows, ValueMetric, numbers

_RELEVANT = (
    "a passage is relevant when it shares half of the shorter of both spans with a source of the question in the same document, or, where "
    "no span is known, when it is the chunk that the question names; questions without a known source, or without passages, have no score"
)
_LACKS = ("passages for questions with a known source", "give the step that answers an index, and questions that know their source")


class HitAtK(ValueMetric):
    """The share of questions with a relevant passage among the first ``k`` that the model was shown."""

    unit = "of 100"
    normalisation = _RELEVANT
    source = "hit rate at k (success at k), over the passages in the prompt, best first"
    inputs = {"ranks": "rank of the first relevant passage, from 1; 0 where none is"}
    lacks = _LACKS

    def __init__(self, k: int) -> None:
        self._k = k
        super().__init__()

    @property
    def key(self) -> str:  # type: ignore[override]
        return f"hit_at_{self._k}"

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Hit@{self._k}"

    def columns(self, rows: Rows) -> dict[str, list[Any]]:
        return {"ranks": numbers([first_relevant(row) for row in rows])}

    def items(self, *, ranks: Sequence[float]) -> tuple[Array, Array]:
        places = np.array(ranks, dtype=np.float64)
        values = np.where(np.isnan(places), np.nan, 100.0 * ((places >= 1) & (places <= self._k)))
        return values, values[:, None]


class ReciprocalRank(ValueMetric):
    """The mean of 1 / rank of the first relevant passage."""

    key, title = "mrr", "MRR"
    normalisation = f"times 100; {_RELEVANT}"
    source = "Voorhees, 1999: The TREC-8 Question Answering Track Report; over the passages in the prompt, best first"
    inputs = HitAtK.inputs
    lacks = _LACKS

    def columns(self, rows: Rows) -> dict[str, list[Any]]:
        return {"ranks": numbers([first_relevant(row) for row in rows])}

    def items(self, *, ranks: Sequence[float]) -> tuple[Array, Array]:
        places = np.array(ranks, dtype=np.float64)
        values = np.where(places > 0, 100.0 / np.maximum(places, 1), places)
        return values, values[:, None]


class Groundedness(ItemMetric):
    """How much of the answer stands in the passages: what does not, the model brought along or made up."""

    key, title = "groundedness", "Groundedness"
    normalisation = (
        "K-precision: share of the answer's tokens that stand in the passages, as often as they do there; tokens as SQuAD's; an answer "
        "without a token has 0. Words alone: it sees no negation"
    )
    source = "Adlakha et al., 2024: Evaluating Correctness and Faithfulness of Instruction-Following Models for Question Answering"
    lacks = ("retrieved passages with their text", "give the step that answers an index, or leave the metric out")

    def _info(self) -> Any:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=f"{self.title}. {self.normalisation}",
            citation=self.source,
            inputs_description="predictions: texts; passages: for each the texts that the model was shown",
            features=datasets.Features({"predictions": text, "passages": datasets.Sequence(text)}),
        )

    def columns(self, rows: Rows) -> dict[str, list[Any]]:
        passages = [[passage["text"] for passage in row.get("retrieved") or () if "text" in passage] for row in rows]
        return {"predictions": [row["answer"] for row in rows], "passages": passages}

    def items(self, *, predictions: Sequence[str], passages: Sequence[Sequence[str]]) -> tuple[Array, Array]:
        values = np.array(
            [100 * _precision(answer, texts) if texts else np.nan for answer, texts in zip(predictions, passages, strict=True)]
        )
        return values, values[:, None]


def first_relevant(row: Mapping[str, Any]) -> int | None:
    """Rank of the first relevant passage of a row of ``answers.jsonl``, from 1; 0 where none is, None where it cannot be told."""
    passages: Sequence[Mapping[str, Any]] = row.get("retrieved") or ()
    sources = [source for source in row.get("sources") or [row.get("source")] if source]
    spans = [source for source in sources if _spanned(source)]
    named = {source["chunk"] for source in sources if source.get("chunk")} or set(row.get("chunks") or ())
    if not passages or not (spans or named):
        return None
    for rank, passage in enumerate(passages, 1):
        if spans and _spanned(passage):
            relevant = any(_overlap(passage, source) for source in spans)
        else:
            relevant = passage.get("chunk") in named
        if relevant:
            return rank
    return 0


def _spanned(place: Mapping[str, Any]) -> bool:
    return bool(place.get("document")) and all(isinstance(place.get(end), int) for end in ("start", "end"))


def _overlap(passage: Mapping[str, Any], source: Mapping[str, Any]) -> bool:
    if passage["document"] != source["document"]:
        return False
    shared = min(passage["end"], source["end"]) - max(passage["start"], source["start"])
    shorter = min(passage["end"] - passage["start"], source["end"] - source["start"])
    return shared > 0 and 2 * shared >= shorter


def _precision(answer: str, passages: Sequence[str]) -> float:
    said = Counter(normalise(answer).split())
    if not said:
        return 0.0
    return (said & Counter(normalise("\n".join(passages)).split())).total() / said.total()

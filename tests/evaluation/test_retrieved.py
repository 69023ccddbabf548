from __future__ import annotations

import math
from typing import Any

import pytest

from runner.evaluation.metrics import Groundedness, HitAtK, ReciprocalRank
from runner.evaluation.retrieved import first_relevant

SOURCE = {"document": "d", "chunk": "d#1", "start": 100, "end": 200}


def passage(start: int, end: int, document: str = "d", chunk: str = "x", text: str = "") -> dict[str, Any]:
    return {"document": document, "chunk": chunk, "start": start, "end": end, "text": text}


@pytest.mark.parametrize(
    ("retrieved", "rank"),
    [
        ([passage(0, 160)], 1),  # holds 60 of 100 characters
        ([passage(0, 140)], 0),  # 40 of 100
        ([passage(150, 190)], 1),  # a small chunk, all of it within the source
        ([passage(100, 200, document="e")], 0),
        ([passage(900, 950), passage(0, 999)], 2),
        ([passage(900, 950, chunk="d#1")], 0),  # another chunking gives the same name to another place
        ([{"chunk": "d#1"}], 1),  # no span: the name is all there is
        ([], None),
    ],
)
def test_relevance_goes_by_the_span(retrieved: list[dict[str, Any]], rank: int | None) -> None:
    assert first_relevant({"source": SOURCE, "retrieved": retrieved}) == rank


def test_any_source_of_a_question_counts_and_its_chunks_where_it_has_none() -> None:
    other = {**SOURCE, "start": 500, "end": 600}
    assert first_relevant({"source": SOURCE, "sources": [SOURCE, other], "retrieved": [passage(500, 600)]}) == 1
    assert first_relevant({"chunks": ["a", "b"], "retrieved": [{"chunk": "z"}, {"chunk": "b"}]}) == 2
    assert first_relevant({"retrieved": [{"chunk": "z"}]}) is None


def test_hit_at_k_and_reciprocal_rank() -> None:
    ranks = [1, 2, 4, 0, math.nan]
    assert HitAtK(1).compute(ranks=ranks) == {"hit_at_1": 25}
    assert HitAtK(3).compute(ranks=ranks) == {"hit_at_3": 50}
    assert ReciprocalRank().compute(ranks=ranks) == {"mrr": pytest.approx(100 * (1 + 1 / 2 + 1 / 4) / 4)}
    assert HitAtK(3).describe()["title"] == "Hit@3"


@pytest.mark.parametrize(
    ("answer", "score"),
    [("The rank is 16.", 100), ("rank rank rank", 100 / 3), ("Rank 17", 50), ("", 0), ("zebra", 0), ("The", 0)],
)
def test_groundedness_is_the_share_of_tokens_in_the_passages(answer: str, score: float) -> None:
    found = Groundedness().compute(predictions=[answer], passages=[["LoRA's rank", "is 16, here"]])
    assert found == {"groundedness": pytest.approx(score)}


def test_without_passages_nothing_can_be_grounded() -> None:
    metric = Groundedness()
    scores, _ = metric.items(
        **metric.columns([{"answer": "a", "retrieved": []}, {"answer": "a"}, {"answer": "b", "retrieved": [{"text": "b"}]}])
    )
    assert [math.isnan(score) for score in scores] == [True, True, False]

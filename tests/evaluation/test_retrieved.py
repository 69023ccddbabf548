from __future__ import annotations

import math
import random
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


def test_hits_and_ranks_are_those_of_sentence_transformers() -> None:
    """The reference: InformationRetrievalEvaluator's accuracy@k and MRR, on rankings drawn at random."""
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    generator = random.Random(5)
    chunks = [f"d#{n}" for n in range(12)]
    rankings = [generator.sample(chunks, 6) for _ in range(80)]
    wanted = [generator.sample(chunks, generator.randint(1, 2)) for _ in rankings]
    evaluator = InformationRetrievalEvaluator(
        queries={str(n): "?" for n in range(80)}, corpus={chunk: chunk for chunk in chunks},
        relevant_docs={str(n): set(named) for n, named in enumerate(wanted)}, mrr_at_k=[6], accuracy_at_k=[1, 3, 6],
    )  # fmt: skip
    theirs = evaluator.compute_metrics([[{"corpus_id": c, "score": -n} for n, c in enumerate(found)] for found in rankings])
    rows = [{"retrieved": [{"chunk": c} for c in found], "chunks": named} for found, named in zip(rankings, wanted, strict=True)]
    for k, share in theirs["accuracy@k"].items():
        assert HitAtK(k).compute(**HitAtK(k).columns(rows)) == {f"hit_at_{k}": pytest.approx(100 * share)}
    assert 0 < theirs["accuracy@k"][1] < theirs["accuracy@k"][6] < 1
    assert ReciprocalRank().compute(**ReciprocalRank().columns(rows)) == {"mrr": pytest.approx(100 * theirs["mrr@k"][6])}

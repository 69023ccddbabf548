"""What is retrieved for a question that follows another."""

from __future__ import annotations

import pytest

from runner.answering import retrieve
from runner.retrieval import open_index
from runner.retrieval.index import Index
from tests.gguf.test_bundle import index


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return open_index(index(tmp_path_factory.mktemp("retrieving") / "index"))


BEFORE = [
    {"role": "user", "content": "attention?"},
    {"role": "assistant", "content": "It is a softmax."},
    {"role": "user", "content": "What does low-rank adaptation freeze?"},
    {"role": "assistant", "content": "Weights and a block of 4 bits."},
]


def names(search: Index, question: str, earlier: list[dict[str, str]], k: int = 3) -> list[str]:
    return [passage["chunk"] for passage in retrieve(search, [(question, earlier)], k)[0]]


def test_a_question_without_any_word_of_its_matter_finds_that_of_the_one_before_it(chunks: Index) -> None:
    assert names(chunks, "Zwei?", []) == []
    assert names(chunks, "Zwei?", BEFORE) == ["lora#0"]  # not of what was asked earlier still, nor of what was answered


def test_a_new_topic_comes_before_the_old_one(chunks: Index) -> None:
    assert names(chunks, "softmax attention?", BEFORE) == ["attention#0", "lora#0"]
    assert names(chunks, "softmax attention?", BEFORE, k=1) == ["attention#0"]


def test_scores_are_those_of_the_search_and_rows_do_not_touch_each_other(chunks: Index) -> None:
    alone = retrieve(chunks, [("softmax attention?", []), ("bits of a block?", [])], 2)
    mixed = retrieve(chunks, [("softmax attention?", BEFORE), ("bits of a block?", [])], 2)
    assert mixed[0][0] == alone[0][0]
    assert mixed[1] == alone[1]

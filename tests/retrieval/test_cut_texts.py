"""What a model does not read is counted and said: the libraries cut it without a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.retrieval import Flat, Hybrid, Index, LateInteraction, SentenceTransformer, open_index
from runner.retrieval.build import build_index
from runner.retrieval.selection import Selector
from runner.retrieval.settings import CrossEncoder, Embedder
from tests.retrieval import tiny_embedder

CLS_SEP = 2


def index_of(folder: Path, embedder: Embedder, model: Path, texts: list[str]) -> tuple[Index, list[str]]:
    chunks, said = folder / "given.jsonl", list[str]()
    chunks.write_text("".join(json.dumps({"id": f"c{number}", "text": text}) + "\n" for number, text in enumerate(texts)))
    build_index(chunks, folder / "index", embedder=embedder, embedder_folder=model, structure=Flat(), device="cpu", warn=said.append)
    return open_index(folder / "index", device="cpu"), said


def cats(count: int) -> str:
    return " ".join(["cat"] * count)


@pytest.mark.parametrize("hybrid", [False, True])
def test_questions_that_an_embedder_cuts_are_counted(hybrid: bool, tmp_path: Path, embedder_folder: Path) -> None:
    settings = SentenceTransformer(model="./tiny", max_seq_length=8)
    index, _ = index_of(tmp_path, Hybrid(dense=settings) if hybrid else settings, embedder_folder, ["cat dog"])
    index.search([cats(8 - CLS_SEP)], 1)
    assert index.warnings == []
    index.search([cats(9 - CLS_SEP), "cat"], 1)
    index.search([cats(50)], 1)
    assert index.warnings == ["2 of 4 questions are longer than the 8 tokens that the embedder reads; their ends are not searched for"]
    assert Selector(index, CrossEncoder(model="./r"), folder=tiny_embedder.save_reranker(tmp_path / "r")).warnings == index.warnings


@pytest.mark.parametrize("given", [False, True])
def test_the_prompt_counts_whether_it_is_given_or_the_models_own(given: bool, tmp_path: Path) -> None:
    prompts = {"query": "query : ", "document": "passage : "}
    folder = tiny_embedder.save(tmp_path / "tiny", prompts=None if given else prompts)
    settings = SentenceTransformer(model="./tiny", max_seq_length=8)
    if given:
        settings = SentenceTransformer(model="./tiny", max_seq_length=8, query_prompt=prompts["query"], passage_prompt=prompts["document"])
    index, said = index_of(tmp_path, settings, folder, [cats(4), cats(5), cats(6)])
    assert said == ["2 of 3 chunks are longer than the 8 tokens that the embedder reads; it finds them by their beginning only"]
    index.search([cats(4), cats(5)], 1)
    assert index.warnings == ["1 of 2 questions are longer than the 8 tokens that the embedder reads; their ends are not searched for"]


@pytest.mark.parametrize("scoring", ["max-sim", "mean-pool"])
def test_a_colbert_reads_questions_and_chunks_to_lengths_of_their_own(scoring: str, tmp_path: Path) -> None:
    folder = tiny_embedder.save_colbert(tmp_path / "colbert")  # 16 and 24 tokens, with a mark at the beginning
    settings = LateInteraction(model="./colbert", scoring=scoring)
    index, said = index_of(tmp_path, settings, folder, [cats(24 - CLS_SEP - 1), cats(25 - CLS_SEP - 1)])
    assert said == ["1 of 2 chunks are longer than the 24 tokens that the embedder reads; it finds them by their beginning only"]
    index.search([cats(16 - CLS_SEP - 1)], 1)
    assert index.warnings == []
    index.search([cats(17 - CLS_SEP - 1)], 1)
    assert index.warnings == ["1 of 2 questions are longer than the 16 tokens that the embedder reads; their ends are not searched for"]


def test_a_table_of_word_vectors_reads_everything(tmp_path: Path) -> None:
    folder = tiny_embedder.save_static(tmp_path / "static")
    index, said = index_of(tmp_path, SentenceTransformer(model="./static"), folder, [cats(3000), "dog"])
    assert index.search([cats(3000)], 1)[0][0].chunk["id"] == "c0"
    assert (said, index.warnings) == ([], [])


def test_pairs_that_a_reranker_cuts_are_counted(tmp_path: Path, embedder_folder: Path) -> None:
    index, _ = index_of(tmp_path, SentenceTransformer(model="./tiny"), embedder_folder, [cats(4), cats(5), cats(20)])
    folder = tiny_embedder.save_reranker(tmp_path / "reranker")
    selector = Selector(index, CrossEncoder(model="./reranker", max_length=10), folder=folder, device="cpu")
    selector.search(["dog dog dog"], 3)  # 3 and 4 tokens, with [CLS] and twice [SEP]: 10
    assert selector.warnings == [
        "2 of 3 pairs of a question and a passage are longer than the 10 tokens that the reranker reads; it judges them without their ends"
    ]
    roomy = Selector(index, CrossEncoder(model="./reranker"), folder=folder, device="cpu")
    roomy.search(["dog dog dog"], 3)
    assert roomy.warnings == []

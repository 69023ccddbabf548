from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from runner.errors import InputError, StepError
from runner.retrieval import Flat, Hybrid, Index, LateInteraction, Lexical, SentenceTransformer, open_index
from runner.retrieval.build import build_index
from runner.retrieval.selection import Selector, densities
from runner.retrieval.settings import CrossEncoder, InformationDensity, MaximalMarginalRelevance, Similarity
from tests.retrieval import tiny_embedder

QUESTIONS = ["the small bird sang", "a big dog ran home fast"]


@pytest.fixture
def index(chunks: Path, tmp_path: Path, embedder_folder: Path) -> Index:
    settings = SentenceTransformer(model="./tiny")
    build_index(chunks, tmp_path / "index", embedder=settings, embedder_folder=embedder_folder, structure=Flat(), device="cpu")
    return open_index(tmp_path / "index", device="cpu")


def index_of(texts: list[str], folder: Path) -> Index:
    folder.mkdir()
    chunks = folder / "given.jsonl"
    chunks.write_text("".join(json.dumps({"id": f"c{number}", "text": text}) + "\n" for number, text in enumerate(texts)))
    build_index(chunks, folder / "index", embedder=Lexical(), structure=Flat())
    return open_index(folder / "index")


def test_by_similarity_is_the_search_itself(index: Index) -> None:
    assert Selector(index, Similarity()).search(QUESTIONS, 4) == index.search(QUESTIONS, 4)


def test_density_is_bits_a_word(tmp_path: Path) -> None:
    index = index_of(["cache block", "cache, the the the", "router router", "the cache"], tmp_path / "i")
    rare, common, third = 2.0, math.log2(4 / 3), math.log2(4 / 2)  # held by one, three and two of the four chunks
    assert densities(index) == pytest.approx([(common + rare) / 2, (common + third) / 4, rare / 2, (third + common) / 2])


def test_of_equally_similar_passages_the_denser_is_taken(tmp_path: Path) -> None:
    filler = "and so it is as we all know of the"
    texts = [f"eviction {filler} {filler}", "eviction measures reuse distance", f"{filler} this", f"{filler} that"]
    index = index_of(texts, tmp_path / "i")
    found = {weight: Selector(index, InformationDensity(weight=weight)).search(["eviction"], 2)[0] for weight in (0, 1)}
    assert found[0] == index.search(["eviction"], 2)[0]
    assert [hit.chunk["id"] for hit in found[1]] == ["c1", "c0"]
    scores = {hit.chunk["id"]: hit.score for hit in index.search(["eviction"], 4)[0]}
    assert all(hit.score == scores[hit.chunk["id"]] for hit in found[1])  # the similarity, as searched


def test_diversity_passes_over_a_repetition(tmp_path: Path) -> None:
    texts = ["cache eviction policy", "cache eviction policy", "cache placement of experts and other things", "unlike all"]
    index = index_of(texts, tmp_path / "i")
    ids = [hit.chunk["id"] for hit in index.search(["cache eviction policy"], 2)[0]]
    assert sorted(ids) == ["c0", "c1"]
    [diverse] = Selector(index, MaximalMarginalRelevance(lambda_mult=0.5)).search(["cache eviction policy"], 2)
    assert [hit.chunk["id"] for hit in diverse] == [ids[0], "c2"]
    [alike] = Selector(index, MaximalMarginalRelevance(lambda_mult=1)).search(["cache eviction policy"], 2)
    assert [hit.chunk["id"] for hit in alike] == ids


def test_diversity_is_the_published_greedy_choice(index: Index, chunks: Path, embedder_folder: Path) -> None:
    """Against a plain restatement of the definition, on the embedder's own vectors."""
    from sentence_transformers import SentenceTransformer as Model

    model = Model(str(embedder_folder), device="cpu")
    texts = [json.loads(line)["text"] for line in chunks.read_text().splitlines()]
    passages, queries = model.encode(texts, normalize_embeddings=True), model.encode(QUESTIONS, normalize_embeddings=True)
    for query, hits in zip(
        queries, Selector(index, MaximalMarginalRelevance(lambda_mult=0.4, candidates=30)).search(QUESTIONS, 6), strict=True
    ):
        left = list(np.argsort(-(passages @ query), kind="stable")[:30])
        taken: list[int] = []
        while len(taken) < 6:
            gain = [0.4 * passages[c] @ query - 0.6 * max((passages[c] @ passages[t] for t in taken), default=0) for c in left]
            taken.append(int(left.pop(int(np.argmax(gain)))))
        assert [hit.row for hit in hits] == taken


def test_candidates_bound_what_is_selected_from(index: Index) -> None:
    among = {hit.row for hit in index.search(QUESTIONS[:1], 6)[0]}
    for selection in (InformationDensity(weight=1, candidates=6), MaximalMarginalRelevance(lambda_mult=0, candidates=6)):
        assert {hit.row for hit in Selector(index, selection).search(QUESTIONS[:1], 5)[0]} < among
        assert len(Selector(index, selection).search(QUESTIONS[:1], 9)[0]) == 9  # never fewer than are asked for


@pytest.mark.parametrize("kind", ["late", "hybrid"])
def test_passages_of_every_kind_of_index_can_be_compared(kind: str, chunks: Path, tmp_path: Path, embedder_folder: Path) -> None:
    late = kind == "late"
    folder = tiny_embedder.save_colbert(tmp_path / "colbert") if late else embedder_folder
    embedder = LateInteraction(model="./c") if late else Hybrid(dense=SentenceTransformer(model="./d"))
    build_index(chunks, tmp_path / "index", embedder=embedder, embedder_folder=folder, structure=Flat(), device="cpu")
    index = open_index(tmp_path / "index", device="cpu")
    [hits] = Selector(index, MaximalMarginalRelevance()).search(QUESTIONS[:1], 3)
    assert len({hit.row for hit in hits}) == 3
    assert np.linalg.norm(index.vectors(hits), axis=1) == pytest.approx([1, 1, 1])
    assert hits[0] == index.search(QUESTIONS[:1], 1)[0][0]


def test_nothing_found_gives_nothing_to_select(tmp_path: Path) -> None:
    index = index_of(["cache block", "router"], tmp_path / "i")
    for selection in (InformationDensity(), MaximalMarginalRelevance()):
        assert Selector(index, selection).search(["quux"], 3) == [[]]


class TestReranker:
    def test_candidates_are_put_in_the_order_of_the_cross_encoder(self, index: Index, tmp_path: Path) -> None:
        from sentence_transformers import CrossEncoder as Model

        folder = tiny_embedder.save_reranker(tmp_path / "tiny")
        selector = Selector(index, CrossEncoder(model="./tiny", candidates=15, batch_size=4), folder=folder, device="cpu")
        model = Model(str(folder), device="cpu")
        for question, found, hits in zip(QUESTIONS, index.search(QUESTIONS, 15), selector.search(QUESTIONS, 5), strict=True):
            expected = sorted(
                zip(model.predict([(question, hit.chunk["text"]) for hit in found]), [hit.row for hit in found], strict=True), reverse=True
            )
            assert [hit.row for hit in hits] == [row for _, row in expected[:5]]
            assert [hit.score for hit in hits] == pytest.approx([float(score) for score, _ in expected[:5]], abs=1e-5)
            assert [hit.row for hit in hits] != [hit.row for hit in found[:5]]

    def test_one_that_is_no_reranker(self, index: Index, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no reranker lies here"):
            Selector(index, CrossEncoder(model="./x"), folder=tmp_path / "x")
        folder = tiny_embedder.save_reranker(tmp_path / "three", labels=3)
        with pytest.raises(StepError, match=r"the reranker \./three gives 3 scores for a pair, and one is needed"):
            Selector(index, CrossEncoder(model="./three"), folder=folder, device="cpu")
        (folder / "model.safetensors").unlink()
        with pytest.raises(StepError, match=r"the reranker \./three cannot be loaded"):
            Selector(index, CrossEncoder(model="./three"), folder=folder, device="cpu")

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.errors import ArtifactDamaged, InputError, StepError
from runner.retrieval import Flat, Hnsw, Ivf, Lexical, SentenceTransformer, open_index
from runner.retrieval.build import build_index
from tests.retrieval import tiny_embedder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("structure", [Flat(), Hnsw(), Ivf(nlist=3, nprobe=3)])
def test_lexical_search_finds_the_word(chunks: Path, tmp_path: Path, structure: Flat | Hnsw | Ivf) -> None:
    built = build_index(chunks, tmp_path / "index", embedder=Lexical(), structure=structure)
    index = open_index(tmp_path / "index")
    assert index.count == built.count == 120
    [hits, nothing] = index.search(["Where is the zebra?", "quux"], 3)
    assert hits[0].chunk["id"] == "d#7"
    assert hits[0].chunk["page"] == 1
    assert hits[0].score > hits[-1].score > 0
    assert nothing == []  # a question without a known word finds nothing, rather than anything


@pytest.mark.parametrize("structure", [Flat(), Hnsw(m=8), Ivf(nlist=5, nprobe=2)])
def test_dense_index_equals_exhaustive_search_where_it_claims_to(
    chunks: Path, tmp_path: Path, embedder_folder: Path, structure: Flat | Hnsw | Ivf
) -> None:
    settings = SentenceTransformer(model="./tiny")
    built = build_index(chunks, tmp_path / "index", embedder=settings, embedder_folder=embedder_folder, structure=structure, device="cpu")
    index = open_index(tmp_path / "index", device="cpu")

    from sentence_transformers import SentenceTransformer as Model

    model = Model(str(embedder_folder), device="cpu")
    rows = [json.loads(line) for line in chunks.read_text(encoding="utf-8").splitlines()]
    texts = [row["text"] for row in rows]
    similarity = model.encode(texts[:5], normalize_embeddings=True) @ model.encode(texts, normalize_embeddings=True).T
    found = index.search(texts[:5], 10)
    share = np.mean(
        [[similarity[i][int(hit.chunk["id"][2:])] >= np.sort(similarity[i])[-10] - 1e-5 for hit in hits] for i, hits in enumerate(found)]
    )
    if isinstance(structure, Flat):
        assert built.recall == share == 1
        assert [hit.score for hit in found[0]] == pytest.approx(np.sort(similarity[0])[::-1][:10], abs=1e-5)
    assert built.recall > 0.5
    assert json.loads((tmp_path / "index" / "index.json").read_text())["recall_at_10"] == round(built.recall, 6)


@pytest.mark.parametrize(
    ("structure", "low", "high"),
    [
        (Hnsw(), 0.99, 1),
        (Hnsw(m=2, ef_construction=1, ef_search=1), 0.1, 0.9),
        (Ivf(nlist=20, nprobe=20), 1, 1),
        (Ivf(nlist=20, nprobe=1), 0.1, 0.8),
    ],
)
def test_recall_tells_a_poor_index_from_a_good_one(
    structure: Hnsw | Ivf, low: float, high: float, chunks: Path, tmp_path: Path, embedder_folder: Path
) -> None:
    """And it is the share of the ten nearest chunks of an exhaustive search that the index finds, for the beginnings of the chunks."""
    settings = SentenceTransformer(model="./tiny")
    found, said = {}, list[str]()
    for name, searched in (("index", structure), ("flat", Flat())):
        options: dict[str, Any] = {"embedder_folder": embedder_folder, "device": "cpu", "warn": said.append}
        build_index(chunks, tmp_path / name, embedder=settings, structure=searched, **options)
        texts = [" ".join(json.loads(line)["text"].split()[:12]) for line in chunks.read_text().splitlines()]
        found[name] = [{hit.row for hit in hits} for hits in open_index(tmp_path / name, device="cpu").search(texts, 10)]
    measured = json.loads((tmp_path / "index" / "index.json").read_text())["recall_at_10"]
    share = sum(len(one & other) for one, other in zip(found["index"], found["flat"], strict=True)) / (10 * len(found["flat"]))
    assert measured == pytest.approx(share, abs=0.01)  # chunks that are equally near are no misses
    assert low <= measured <= high
    wider = {"Hnsw": "faiss.ef_search or faiss.m", "Ivf": "faiss.nprobe"}[type(structure).__name__]
    poor = [f"the index finds {measured:.0%} of the truly nearest ten (recall@10): raise {wider}, or use kind: flat"]
    assert [warning for warning in said if "recall" in warning] == (poor if measured < 0.9 else [])


def test_more_results_than_chunks_and_lists_that_are_not_read_give_no_empty_rows(
    chunks: Path, tmp_path: Path, embedder_folder: Path
) -> None:
    settings = SentenceTransformer(model="./tiny")
    build_index(
        chunks,
        tmp_path / "index",
        embedder=settings,
        embedder_folder=embedder_folder,
        structure=Ivf(nlist=40, nprobe=1),
        metric="inner_product",
    )
    index = open_index(tmp_path / "index")
    [hits] = index.search(["the cat sat"], 1000)
    assert 0 < len(hits) < 120
    assert index.search([], 3) == []
    with pytest.raises(ValueError, match="k must be at least 1"):
        index.search(["cat"], 0)
    build_index(chunks, tmp_path / "flat", embedder=settings, embedder_folder=embedder_folder, structure=Flat())
    assert len(open_index(tmp_path / "flat").search(["the cat sat"], 1000)[0]) == 120


@pytest.mark.parametrize("structure", [Hnsw(), Ivf(nlist=3)])
def test_the_same_chunks_give_the_same_bytes(chunks: Path, tmp_path: Path, embedder_folder: Path, structure: Hnsw | Ivf) -> None:
    for name in ("first", "second"):
        build_index(chunks, tmp_path / "lexical" / name, embedder=Lexical(), structure=structure)
        build_index(
            chunks,
            tmp_path / "dense" / name,
            embedder=SentenceTransformer(model="./tiny"),
            embedder_folder=embedder_folder,
            structure=structure,
        )
    for kind in ("lexical", "dense"):
        first = contents(tmp_path / kind / "first")
        assert first == contents(tmp_path / kind / "second")
        assert "embedder/config_sentence_transformers.json" in first
        assert not any(b"2.13" in data for name, data in first.items() if name.startswith("embedder/config_sent"))


def test_a_killed_attempt_is_continued_and_gives_the_same_bytes(chunks: Path, tmp_path: Path, embedder_folder: Path) -> None:
    settings, work = SentenceTransformer(model="./tiny", batch_size=2), tmp_path / "work"
    work.mkdir()

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done >= 48:
            raise Killed

    with pytest.raises(Killed):
        build_index(chunks, tmp_path / "a", embedder=settings, embedder_folder=embedder_folder, structure=Flat(), work=work, progress=kill)
    with (work / "vectors.f32").open("ab") as file:
        file.write(b"half a row")
    seen: list[int] = []
    again = build_index(
        chunks,
        tmp_path / "b",
        embedder=settings,
        embedder_folder=embedder_folder,
        structure=Flat(),
        work=work,
        progress=lambda done, total: seen.append(done),
    )
    whole = build_index(chunks, tmp_path / "c", embedder=settings, embedder_folder=embedder_folder, structure=Flat())
    assert again.embedded == 120 - 48
    assert whole.embedded == 120
    assert seen[-1] == 120
    assert contents(tmp_path / "b") == contents(tmp_path / "c")


def test_too_few_chunks_for_ivf_are_an_error_and_few_are_a_warning(chunks: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        build_index(chunks, tmp_path / "index", embedder=Lexical(), structure=Ivf(nlist=121))
    assert str(caught.value) == (
        "an IVF index of 121 lists needs at least 121 chunks, and there are 120\n"
        "  lower faiss.nlist (FAISS advises 3 for that many), or use kind: flat or hnsw"
    )
    said: list[str] = []
    build_index(chunks, tmp_path / "index", embedder=Lexical(), structure=Ivf(nlist=4), warn=said.append)
    assert said == ["120 chunks are few for 4 IVF lists: FAISS advises 39 chunks a list, so at most 3 lists"]


def test_chunks_longer_than_the_embedder_reads_are_counted(chunks: Path, tmp_path: Path, embedder_folder: Path) -> None:
    with chunks.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"id": "long", "text": "cat " * 50}) + "\n")
    said: list[str] = []
    settings = SentenceTransformer(model="./tiny")
    build_index(chunks, tmp_path / "index", embedder=settings, embedder_folder=embedder_folder, structure=Flat(), warn=said.append)
    assert said == ["1 of 121 chunks are longer than the 32 tokens that the embedder reads; it finds them by their beginning only"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "there is not one chunk to index"),
        ("{}\n", "row 1 has no `text`"),
        ('{"text": "cat"}\n{"text"\n', "row 2 is not JSON"),
    ],
)
def test_chunks_that_cannot_be_indexed(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "chunks.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=found):
        build_index(path, tmp_path / "index", embedder=Lexical(), structure=Flat())


def test_an_empty_vocabulary_is_an_error(chunks: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no word stands in 121 or more of the 120 chunks"):
        build_index(chunks, tmp_path / "index", embedder=Lexical(min_df=121), structure=Flat())


def test_a_folder_that_holds_no_embedder(chunks: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sentence-transformers model lies here"):
        build_index(chunks, tmp_path / "i", embedder=SentenceTransformer(model="./x"), embedder_folder=tmp_path / "x", structure=Flat())


def test_pickled_weights_are_refused(chunks: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = tiny_embedder.save(tmp_path / "pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(StepError, match="cannot be loaded"):
        build_index(chunks, tmp_path / "i", embedder=SentenceTransformer(model="./x"), embedder_folder=folder, structure=Flat())


def test_the_embedders_own_prompts_are_used_unless_others_are_given(chunks: Path, tmp_path: Path) -> None:
    folder = tiny_embedder.save(tmp_path / "prompted", prompts={"query": "query: ", "document": "passage: "})
    text = json.loads(chunks.read_text(encoding="utf-8").splitlines()[0])["text"]

    def best(name: str, **prompts: str) -> float:
        settings = SentenceTransformer(model="./prompted", **prompts)
        build_index(chunks, tmp_path / name, embedder=settings, embedder_folder=folder, structure=Flat())
        return open_index(tmp_path / name).search([text], 1)[0][0].score

    assert best("own") < 0.9999  # the same text, but with another prompt before it
    assert best("none", query_prompt="", passage_prompt="") == pytest.approx(1, abs=1e-5)
    assert best("same", query_prompt="passage: ") == pytest.approx(1, abs=1e-5)


def test_each_instruction_goes_to_its_own_side(chunks: Path, tmp_path: Path, embedder_folder: Path) -> None:
    import faiss
    from sentence_transformers import SentenceTransformer as Model

    settings = SentenceTransformer(model="./tiny", query_prompt="query: ", passage_prompt="passage: ")
    build_index(chunks, tmp_path / "index", embedder=settings, embedder_folder=embedder_folder, structure=Flat(), device="cpu")
    model = Model(str(embedder_folder), device="cpu")
    texts = [json.loads(line)["text"] for line in chunks.read_text(encoding="utf-8").splitlines()]
    passages = model.encode([f"passage: {text}" for text in texts], normalize_embeddings=True)
    held = faiss.read_index(str(tmp_path / "index" / "index.faiss")).reconstruct_n(0, 120)
    assert held == pytest.approx(passages, abs=1e-5)
    query = model.encode("query: the small bird sang", normalize_embeddings=True)
    for hit in open_index(tmp_path / "index", device="cpu").search(["the small bird sang"], 120)[0]:
        assert hit.score == pytest.approx(passages[hit.row] @ query, abs=1e-5)


class TestDamage:
    @pytest.fixture
    def index(self, chunks: Path, tmp_path: Path) -> Path:
        build_index(chunks, tmp_path / "index", embedder=Lexical(), structure=Hnsw())
        return tmp_path / "index"

    def test_truncated_vectors(self, index: Path) -> None:
        file = index / "index.faiss"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(ArtifactDamaged, match=r"index\.faiss: the vectors cannot be read: the file is truncated"):
            open_index(index)

    def test_missing_vectors(self, index: Path) -> None:
        (index / "index.faiss").unlink()
        with pytest.raises(ArtifactDamaged, match=r"index\.faiss: the file is missing"):
            open_index(index)

    def test_a_lost_chunk(self, index: Path) -> None:
        file = index / "chunks.jsonl"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
        with pytest.raises(ArtifactDamaged, match=r"120 chunks, index\.faiss holds 120 vectors, chunks\.jsonl holds 119 rows"):
            open_index(index)

    def test_another_embedder(self, index: Path, tmp_path: Path, chunks: Path) -> None:
        build_index(chunks, tmp_path / "other", embedder=Lexical(max_features=5), structure=Flat())
        (index / "embedder/0_BoW/config.json").write_bytes((tmp_path / "other/embedder/0_BoW/config.json").read_bytes())
        with pytest.raises(ArtifactDamaged, match="the dimensions differ"):
            open_index(index)

    def test_no_index_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactDamaged, match="no index can be read here"):
            open_index(tmp_path)

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.errors import ArtifactDamaged
from runner.retrieval import Bm25, Flat, Hnsw, Hybrid, Okapi, SentenceTransformer, open_index
from runner.retrieval.build import build_index
from runner.retrieval.searchers import fuse

DENSE = SentenceTransformer(model="./tiny")


def test_fusion_sums_the_reciprocal_ranks() -> None:
    fused = fuse([[(7, 0.9), (3, 0.8), (5, 0.1)], [(3, 12.0), (9, 4.0)]], constant=60)
    assert fused == [(3, 1 / 62 + 1 / 61), (7, 1 / 61), (9, 1 / 62), (5, 1 / 63)]
    assert fuse([[(2, 1.0)], [(1, 1.0)]], 60) == [(1, 1 / 61), (2, 1 / 61)]  # a tie goes by the chunks' order


def test_a_hybrid_index_fuses_the_rankings_of_its_two_parts(chunks: Path, tmp_path: Path, embedder_folder: Path) -> None:
    settings = Hybrid(dense=DENSE, lexical=Okapi(k1=1.2, method="atire"), rank_constant=5, depth=20)
    build_index(chunks, tmp_path / "hybrid", embedder=settings, embedder_folder=embedder_folder, structure=Hnsw(), device="cpu")
    build_index(chunks, tmp_path / "dense", embedder=DENSE, embedder_folder=embedder_folder, structure=Hnsw(), device="cpu")
    build_index(chunks, tmp_path / "lexical", embedder=Bm25(k1=1.2, method="atire"), structure=Flat())
    questions = ["Where is the zebra?", "the small bird sang", "quux"]
    index = open_index(tmp_path / "hybrid", device="cpu")
    parts = [open_index(tmp_path / name, device="cpu").search(questions, 20) for name in ("dense", "lexical")]
    for hits, *rankings in zip(index.search(questions, 5), *parts, strict=True):
        expected = fuse([[(hit.row, hit.score) for hit in ranking] for ranking in rankings], 5)[:5]
        assert [(hit.row, hit.score) for hit in hits] == expected
    [zebra] = index.search(["zebra"], 1)
    assert zebra[0].chunk["id"] == "d#7"  # an unknown word to the dense part, a rare one to the other


def test_depth_is_never_less_than_what_is_asked_for(chunks: Path, tmp_path: Path, embedder_folder: Path) -> None:
    settings = Hybrid(dense=DENSE, depth=1)
    build_index(chunks, tmp_path / "index", embedder=settings, embedder_folder=embedder_folder, structure=Flat(), device="cpu")
    assert len(open_index(tmp_path / "index", device="cpu").search(["cat"], 30)[0]) == 30


def test_what_is_described_and_checked_on_opening(chunks: Path, tmp_path: Path, embedder_folder: Path) -> None:
    folder = tmp_path / "index"
    build_index(chunks, folder, embedder=Hybrid(dense=DENSE), embedder_folder=embedder_folder, structure=Flat(), device="cpu")
    described = json.loads((folder / "index.json").read_text())["embedder"]
    assert described["kind"] == "hybrid"
    assert described["dense"]["kind"] == "sentence-transformer"
    assert described["lexical"] == {"k1": 1.5, "b": 0.75, "method": "lucene", "delta": 0.5, "stopwords": None, "stemmer": None}
    assert sorted(path.name for path in folder.iterdir()) == ["bm25", "chunks.jsonl", "embedder", "index.faiss", "index.json"]
    lines = chunks.read_text().splitlines(keepends=True)
    chunks.write_text("".join(lines[:-1]))
    build_index(chunks, tmp_path / "fewer", embedder=Bm25(), structure=Flat())
    for file in (tmp_path / "fewer" / "bm25").iterdir():
        (folder / "bm25" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ArtifactDamaged, match=r"index\.json says 120 chunks, bm25 weighs 119, chunks\.jsonl holds 120 rows"):
        open_index(folder)
    (folder / "bm25" / "words.json").unlink()
    with pytest.raises(ArtifactDamaged, match=r"bm25: the weights of the words cannot be read"):
        open_index(folder)

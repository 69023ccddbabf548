"""The script beside a GGUF searches an index without this project; it must find what the project finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.gguf import inference
from runner.retrieval import Bm25, Flat, Hnsw, Hybrid, Ivf, LateInteraction, Lexical, SentenceTransformer, open_index
from runner.retrieval.build import build_index
from tests.retrieval import tiny_embedder

DENSE, LATE = SentenceTransformer(model="./m", query_prompt="query: ", max_seq_length=8), LateInteraction(model="./m")
MEAN = LateInteraction(model="./m", scoring="mean-pool", query_prompt="[unused0] the ")


@pytest.mark.parametrize(
    ("embedder", "structure"),
    [
        (Lexical(), Flat()),
        (DENSE, Hnsw()),
        (LATE, Flat()),
        (LATE, Hnsw()),
        (LATE, Ivf(nlist=4, nprobe=2)),
        (MEAN, Flat()),
        (Hybrid(dense=DENSE, rank_constant=3, depth=9), Ivf(nlist=3, nprobe=3)),
        (Hybrid(dense=LATE), Flat()),
        (Bm25(stopwords="english", stemmer="english"), Flat()),
        (Bm25(method="bm25+"), Flat()),
    ],
)
def test_the_script_finds_what_the_index_finds(
    embedder: object, structure: object, chunks: Path, tmp_path: Path, embedder_folder: Path
) -> None:
    part = embedder.dense if isinstance(embedder, Hybrid) else embedder
    folder = tiny_embedder.save_colbert(tmp_path / "colbert") if isinstance(part, LateInteraction) else embedder_folder
    given = None if isinstance(embedder, Lexical | Bm25) else folder
    build_index(chunks, tmp_path / "index", embedder=embedder, embedder_folder=given, structure=structure, device="cpu")
    for question in ("Where is the zebra?", "the small bird sang the song of birds", "quux"):
        [hits] = open_index(tmp_path / "index", device="cpu").search([question], 6)
        found = inference.retrieve(tmp_path / "index", question, 6)
        assert [passage["id"] for passage in found] == [hit.chunk["id"] for hit in hits]
        assert [passage["score"] for passage in found] == pytest.approx([hit.score for hit in hits], abs=1e-6)

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runner.errors import ArtifactDamaged, StepError
from runner.retrieval import Flat, Hnsw, Ivf, LateInteraction, open_index
from runner.retrieval.build import build_index
from tests.retrieval import tiny_embedder

QUESTIONS = ["the small bird sang", "a big dog ran home fast", "cat on the mat"]


@pytest.fixture(scope="module")
def colbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_embedder.save_colbert(tmp_path_factory.mktemp("colbert") / "tiny")


def texts(chunks: Path) -> list[str]:
    return [json.loads(line)["text"] for line in chunks.read_text(encoding="utf-8").splitlines()]


def test_flat_search_is_max_sim_over_all_chunks(chunks: Path, tmp_path: Path, colbert: Path) -> None:
    from sentence_transformers import MultiVectorEncoder

    settings = LateInteraction(model="./tiny")
    built = build_index(chunks, tmp_path / "index", embedder=settings, embedder_folder=colbert, structure=Flat(), device="cpu")
    model = MultiVectorEncoder(str(colbert), device="cpu")
    passages = model.encode_document(texts(chunks), batch_size=32)
    similarity = model.similarity(model.encode_query(QUESTIONS), passages).numpy()
    assert (built.count, built.vectors, built.dimension) == (120, sum(len(tokens) for tokens in passages), 8)
    for expected, hits in zip(similarity, open_index(tmp_path / "index", device="cpu").search(QUESTIONS, 7), strict=True):
        assert [hit.score for hit in hits] == pytest.approx(np.sort(expected)[::-1][:7], rel=1e-5)
        assert [hit.score for hit in hits] == pytest.approx([expected[int(hit.chunk["id"][2:])] for hit in hits], rel=1e-5)


def test_mean_pooling_gives_one_vector_a_text(chunks: Path, tmp_path: Path, colbert: Path) -> None:
    from sentence_transformers import MultiVectorEncoder

    settings = LateInteraction(model="./tiny", scoring="mean-pool")
    built = build_index(chunks, tmp_path / "index", embedder=settings, embedder_folder=colbert, structure=Flat(), device="cpu")
    model = MultiVectorEncoder(str(colbert), device="cpu")

    def means(tokens: list[np.ndarray]) -> np.ndarray:
        pooled = np.stack([vectors.mean(axis=0) for vectors in tokens])
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    passages = means(model.encode_document(texts(chunks), batch_size=32, convert_to_numpy=True))
    similarity = means(model.encode_query(QUESTIONS, convert_to_numpy=True)) @ passages.T
    assert built.vectors == built.count == 120
    for expected, hits in zip(similarity, open_index(tmp_path / "index", device="cpu").search(QUESTIONS, 7), strict=True):
        assert [hit.score for hit in hits] == pytest.approx([expected[int(hit.chunk["id"][2:])] for hit in hits], rel=1e-5)
        assert [hit.score for hit in hits] == pytest.approx(np.sort(expected)[::-1][:7], rel=1e-5)


def test_tokens_looked_up_lead_to_chunks_that_are_scored_in_full(chunks: Path, tmp_path: Path, colbert: Path) -> None:
    settings = LateInteraction(model="./tiny")

    def build(name: str, structure: Flat | Hnsw | Ivf) -> float:
        return build_index(chunks, tmp_path / name, embedder=settings, embedder_folder=colbert, structure=structure, device="cpu").recall

    assert build("flat", Flat()) == 1
    recalls = {name: build(name, structure) for name, structure in (("hnsw", Hnsw()), ("ivf", Ivf(nlist=8, nprobe=8)))}
    assert all(recall > 0.6 for recall in recalls.values()), recalls
    exact = {hit.chunk["id"]: hit.score for hit in open_index(tmp_path / "flat", device="cpu").search(QUESTIONS[:1], 120)[0]}
    for name in recalls:
        hits = open_index(tmp_path / name, device="cpu").search(QUESTIONS[:1], 10)[0]
        assert [hit.score for hit in hits] == pytest.approx([exact[hit.chunk["id"]] for hit in hits], rel=1e-5)
        assert hits == sorted(hits, key=lambda hit: -hit.score)


def test_longest_passage_and_what_is_cut(chunks: Path, tmp_path: Path, colbert: Path) -> None:
    said: list[str] = []

    def tokens(name: str, longest: int | None) -> int:
        settings = LateInteraction(model="./tiny", max_seq_length=longest)
        return build_index(
            chunks, tmp_path / name, embedder=settings, embedder_folder=colbert, structure=Flat(), device="cpu", warn=said.append
        ).vectors

    assert tokens("own", None) > tokens("short", 8) > 0
    assert said == ["120 of 120 chunks are longer than the 8 tokens that the embedder reads; it finds them by their beginning only"]


def test_a_killed_attempt_is_continued_and_gives_the_same_bytes(chunks: Path, tmp_path: Path, colbert: Path) -> None:
    settings, work = LateInteraction(model="./tiny", batch_size=2), tmp_path / "work"

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done >= 48:
            raise Killed

    def build(name: str, **options: object) -> dict[str, bytes]:
        build_index(chunks, tmp_path / name, embedder=settings, embedder_folder=colbert, structure=Flat(), device="cpu", **options)
        folder = tmp_path / name
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    with pytest.raises(Killed):
        build("a", work=work, progress=kill)
    with (work / "vectors.f32").open("ab") as file:
        file.write(b"a block whose counts were not written")
    seen: list[int] = []
    assert build("b", work=work, progress=lambda done, total: seen.append(done)) == build("c")
    assert seen[-1] == 120


def test_counts_of_tokens_that_do_not_belong_to_the_vectors(chunks: Path, tmp_path: Path, colbert: Path) -> None:
    folder = tmp_path / "index"
    build_index(chunks, folder, embedder=LateInteraction(model="./t"), embedder_folder=colbert, structure=Flat(), device="cpu")
    counts = np.load(folder / "tokens.npy")
    np.save(folder / "tokens.npy", counts[:-1])
    with pytest.raises(ArtifactDamaged, match=r"the counts differ: tokens\.npy adds up to \d+ vectors, index\.faiss holds \d+"):
        open_index(folder)
    np.save(folder / "tokens.npy", np.append(counts[:-2], counts[-2:].sum()))
    with pytest.raises(ArtifactDamaged, match=r"120 chunks, tokens\.npy holds 119 chunks, chunks\.jsonl holds 120 rows"):
        open_index(folder)
    (folder / "tokens.npy").write_bytes(b"")
    with pytest.raises(ArtifactDamaged, match=r"tokens\.npy: the counts of tokens cannot be read"):
        open_index(folder)


def test_pickled_weights_are_refused(chunks: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = tiny_embedder.save_colbert(tmp_path / "pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(StepError, match="cannot be loaded"):
        build_index(chunks, tmp_path / "i", embedder=LateInteraction(model="./x"), embedder_folder=folder, structure=Flat())

"""Real indexes for the tests of step kinds that search one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner.contract import Artifact
from tests.steps.local_context import artifact
from tests.steps.writing import chunks


@pytest.fixture(scope="session")
def index_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Artifact], Artifact]:
    """Builds a real lexical index over chunks."""
    from runner.retrieval import Flat, Lexical
    from runner.retrieval.build import build_index

    def build(source: Artifact) -> Artifact:
        folder = tmp_path_factory.mktemp("index")
        build_index(
            source.path / "chunks.jsonl",
            folder / "main",
            embedder=Lexical(),
            structure=Flat(),
            metric="cosine",
            chunks_ref=source.ref,
            embedder_folder=None,
            work=folder,
            device="cpu",
            progress=lambda done, total: None,
            warn=lambda message: None,
        )
        return artifact(folder / "main", "index", step="index")

    return build


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory, index_of: Callable[[Artifact], Artifact]) -> Artifact:
    """One over the chunks of the three texts."""
    return index_of(chunks(tmp_path_factory.mktemp("chunks")))

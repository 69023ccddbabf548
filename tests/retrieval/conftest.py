"""Chunks and a tiny embedder, made on the spot."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.retrieval import tiny_embedder


@pytest.fixture(scope="session")
def embedder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_embedder.save(tmp_path_factory.mktemp("embedder") / "tiny")


@pytest.fixture
def chunks(tmp_path: Path) -> Path:
    """120 chunks of random words; chunk 7 alone holds the word ``zebra``."""
    generator = random.Random(0)
    path = tmp_path / "chunks" / "chunks.jsonl"
    path.parent.mkdir()
    with path.open("w", encoding="utf-8") as lines:
        for number in range(120):
            words = generator.choices(tiny_embedder.WORDS, k=12) + (["Zebra,"] if number == 7 else [])
            row = {"id": f"d#{number}", "document": "d", "page": number // 10 + 1, "text": " ".join(words) + "."}
            lines.write(json.dumps(row) + "\n")
    return path

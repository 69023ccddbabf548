"""Vectors on their way into an index, kept so that a killed attempt does not compute them twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runner.retrieval.embedders import Vectors

#: How many vectors each chunk has.
Tokens = np.ndarray[Any, np.dtype[np.int64]]

_VECTORS, _TOKENS = "vectors.f32", "tokens.i64"


class Journal:
    """Two files in ``folder``: the vectors of all chunks one after the other, and how many each chunk has, written after them."""

    def __init__(self, folder: Path, dimension: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._vectors, self._tokens, self._dimension = folder / _VECTORS, folder / _TOKENS, dimension

    def resume(self, block: int, count: int) -> int:
        """Cut off what was not written whole, and tell how many chunks are there; blocks of ``block`` chunks count whole only."""
        for file in (self._vectors, self._tokens):
            file.touch()
        tokens = np.fromfile(self._tokens, dtype=np.int64)
        whole = self._vectors.stat().st_size // (4 * self._dimension)
        ready = int(np.searchsorted(np.cumsum(tokens), whole, side="right"))
        ready = count if ready >= count else ready // block * block
        self._cut(self._tokens, 8 * ready)
        self._cut(self._vectors, 4 * self._dimension * int(tokens[:ready].sum()))
        return ready

    def append(self, chunks: Sequence[Vectors]) -> None:
        """The vectors of some chunks, each (number, dimension)."""
        with self._vectors.open("ab") as file:
            file.write(np.ascontiguousarray(np.concatenate(chunks), dtype=np.float32).tobytes())
        with self._tokens.open("ab") as file:
            file.write(np.array([len(chunk) for chunk in chunks], dtype=np.int64).tobytes())

    def read(self) -> tuple[Vectors, Tokens]:
        """All vectors (number, dimension), and how many each chunk has."""
        return np.fromfile(self._vectors, dtype=np.float32).reshape(-1, self._dimension), np.fromfile(self._tokens, dtype=np.int64)

    def remove_from(self, folder: Path) -> None:
        """Remove the files where they lie in ``folder``, which is to hold an index and nothing else."""
        for file in (self._vectors, self._tokens):
            if file.parent == folder:
                file.unlink()

    @staticmethod
    def _cut(file: Path, size: int) -> None:
        with file.open("r+b") as opened:
            opened.truncate(size)

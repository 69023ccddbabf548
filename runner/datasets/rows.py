"""Rows of artifacts: JSON Lines, written and read one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


class RowWriter:
    """Writes a ``.jsonl`` file row by row; a context manager. Makes the folder. Equal rows give equal bytes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an artifact's ``.jsonl`` file, one by one."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def count_rows(path: Path) -> int:
    """The number of lines of a file, without parsing them."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

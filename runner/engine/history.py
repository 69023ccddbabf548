"""Earlier runs of a recipe, the newest first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.engine.store import Store

#: How far back to look for an instance.
DEPTH = 50


def run_folders(recipe: Path) -> list[Path]:
    """The run folders of a recipe, the newest first. Names rise from run to run."""
    if not recipe.is_dir():
        return []
    return sorted((path for path in recipe.iterdir() if path.is_dir() and not path.is_symlink()), key=lambda path: path.name, reverse=True)


class History:
    """What earlier runs of one recipe have recorded; ``before`` leaves out a run and all that came after it."""

    def __init__(self, store: Store, recipe: str, before: str = "") -> None:
        folders = run_folders(store.runs / recipe)
        self._folders = [folder for folder in folders if not before or folder.name < before][:DEPTH]
        self._records: dict[Path, Mapping[str, Mapping[str, Any]]] = {}

    def last(self, instance: str) -> tuple[str, Mapping[str, Any]] | None:
        """The newest run in which the instance had an artifact: the run's name and the instance's record."""
        for folder, records in self._read():
            record = records.get(instance)
            if record and record.get("artifact"):
                return folder.name, record
        return None

    def _read(self) -> Iterator[tuple[Path, Mapping[str, Mapping[str, Any]]]]:
        for folder in self._folders:
            if folder not in self._records:
                try:
                    data = json.loads((folder / "run.json").read_text(encoding="utf-8"))
                    self._records[folder] = {record["id"]: record for record in data["instances"]}
                except (OSError, ValueError, KeyError, TypeError):
                    self._records[folder] = {}
            yield folder, self._records[folder]

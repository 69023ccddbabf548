"""Checkpoints that survive a kill at any moment: one counts as complete only when a mark was set after its last byte."""

from __future__ import annotations

import shutil
from pathlib import Path

_MARK = "complete"


def mark_complete(folder: Path, step: int) -> None:
    """Called when the checkpoint of ``step`` is written in full."""
    (folder / f"checkpoint-{step}" / _MARK).touch()


def last_complete(folder: Path) -> Path | None:
    """The newest complete checkpoint below ``folder``; half-written ones are removed, so that nothing resumes from them."""
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        step = path.name.removeprefix("checkpoint-")
        if step.isdigit() and (path / _MARK).is_file():
            found[int(step)] = path
        else:
            shutil.rmtree(path, ignore_errors=True)
    return found[max(found)] if found else None

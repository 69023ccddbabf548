from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from runner.cli.board import WORDS
from runner.cli.options import Artifacts, Format, Formats, open_store
from runner.cli.output import aligned, print_json
from runner.reports.formats import duration


def command(artifacts: Artifacts = None, format: Formats = Format.text) -> None:
    """List the runs in the store, the newest last."""
    folder = open_store(artifacts).runs
    records = sorted((record for path in folder.glob("*/*/run.json") if (record := _read(path))), key=lambda record: str(record["started"]))
    if format is Format.json:
        print_json(records)
    elif not records:
        print(f"no runs in {folder}")
    else:
        rows = [
            (
                f"{record['recipe']}/{record['run']}",
                record["status"],
                "" if record["seconds"] is None else duration(record["seconds"]),
                ", ".join(f"{number} {WORDS.get(state, state)}" for state, number in record["states"].items()),
                "; ".join(record["overlays"]),
            )
            for record in records
        ]
        print(aligned([("run", "status", "time", "steps", "overlays"), *rows], right=(2,)))


def _read(path: Path) -> dict[str, Any] | None:
    """The record of a run in short; None for the link to the latest, and for what is no record."""
    if path.parent.is_symlink():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        kept = {name: record.get(name) for name in ("recipe", "run", "title", "file", "started", "finished", "status", "seconds")}
        states = Counter(instance["state"] for instance in record["instances"])
        return {**kept, "overlays": record.get("overlays") or [], "states": dict(states), "folder": str(path.parent)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None

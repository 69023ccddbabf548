"""What answers cost: tokens, which are a function of the answers, and seconds, which are not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def tokens(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean tokens of prompts and answers; what no row counts is missing."""
    found = {}
    for name in ("prompt_tokens", "answer_tokens"):
        counts = [row[name] for row in rows if isinstance(row.get(name), int)]
        if counts:
            found[name] = round(sum(counts) / len(counts), 3)
    return found


def latency(file: Path, items: Sequence[str]) -> dict[str, float]:
    """Seconds an answer took, from ``provenance/latency.jsonl``: mean, and p50 and p95 by nearest rank. Empty where nothing is known."""
    wanted, seconds = set(items), []
    try:
        with file.open(encoding="utf-8") as lines:
            seconds = sorted(float(row["seconds"]) for row in map(json.loads, lines) if row["id"] in wanted)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if not seconds:
        return {}
    ranked = {f"p{share}": seconds[max(1, math.ceil(len(seconds) * share / 100)) - 1] for share in (50, 95)}
    return {"mean": round(sum(seconds) / len(seconds), 6), **ranked}

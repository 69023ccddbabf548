"""What answers cost: tokens, which are a function of the answers, and seconds, which are not."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.evaluation.bootstrap import Resampling


def tokens(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean tokens that were read and made for an answer, with those of summaries; what no row counts is missing."""
    found = {}
    for name in ("prompt_tokens", "answer_tokens"):
        counts = [row[name] + (row.get("summaries") or {}).get(name, 0) for row in rows if isinstance(row.get(name), int)]
        if counts:
            found[name] = round(sum(counts) / len(counts), 3)
    return found


def latency(file: Path, items: Sequence[str], resampling: Resampling | None = None) -> dict[str, float | int]:
    """Seconds an answer took, of the rows of ``provenance/latency.jsonl`` whose ids are in ``items``: ``mean`` with its interval ``low``
    and ``high``, ``p50`` and ``p95`` by nearest rank, and ``n`` of answers. Empty where nothing is known.

    Answers of one ``batch`` were made at the same time, on a machine that was as busy for each of them, so whole batches are drawn. One
    batch alone has no interval.
    """
    wanted, batches = set(items), defaultdict[int, list[float]](list)
    try:
        with file.open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if row["id"] in wanted:
                    batches[row["batch"]].append(float(row["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    seconds = sorted(took for batch in batches.values() for took in batch)
    if not seconds:
        return {}
    found: dict[str, float | int] = {"mean": round(sum(seconds) / len(seconds), 6), "n": len(seconds)}
    found |= {f"p{share}": seconds[max(1, math.ceil(len(seconds) * share / 100)) - 1] for share in (50, 95)}
    return found | (_interval(list(batches.values()), resampling) if len(batches) > 1 else {})


def _interval(batches: Sequence[Sequence[float]], resampling: Resampling | None) -> dict[str, float]:
    import numpy as np

    from runner.evaluation.aggregates import weighted_mean
    from runner.evaluation.bootstrap import Resampling, Table, intervals

    sums = np.array([[[sum(batch), len(batch)] for batch in batches]], dtype=np.float64)
    [([drawn], _)] = intervals([Table(sums, weighted_mean(sums, 1), weighted_mean)], resampling or Resampling())
    return {"low": round(drawn.low, 6), "high": round(drawn.high, 6)}

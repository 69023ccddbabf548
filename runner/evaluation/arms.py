"""Arms of an experiment: their answers, lined up so that every arm is seen on the same items."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import InputError

Axes = Mapping[str, str]
_KEPT = (
    "id", "question", "reference", "answers", "answer", "type", "documents", "extra", "history", "source", "sources", "chunks", "retrieved",
    "reference_loss", "reference_tokens", "prompt_tokens", "answer_tokens", "summaries",
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """A system's answers: rows of ``answers.jsonl`` under the axis values that name it."""

    axes: Axes
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Aligned:
    """Arms whose rows are those of ``items``, in that order; ``left_out`` counts the others; ``warnings`` belong in the report."""

    arms: Sequence[Arm]
    items: Sequence[str]
    left_out: Mapping[str, int]
    warnings: Sequence[str]


def read_answers(file: Path) -> list[dict[str, Any]]:
    """The fields of ``answers.jsonl`` that are scored. Raises InputError, naming the row, for a broken or repeated one."""
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                row = json.loads(line)
                lacking = [name for name in ("id", "reference", "answer") if not isinstance(row.get(name), str)]
                if lacking:
                    raise InputError(f"the row has no text as {', '.join(lacking)}", where=f"{file}:{number}")
                if row["id"] in seen:
                    raise InputError(f"the item {row['id']} is answered twice", where=f"{file}:{number}")
                seen.add(row["id"])
                rows.append({name: row[name] for name in _KEPT if name in row})
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"the answers cannot be read: {error}", where=str(file)) from None
    return rows


def label(axes: Axes) -> str:
    """``system=lora, rag=none``, or ``the only arm``."""
    return ", ".join(f"{axis}={value}" for axis, value in axes.items()) or "the only arm"


def align(arms: Sequence[Arm]) -> Aligned:
    """Keep of every arm the items that all arms answered, in the first arm's order: the same question, after the same turns, and reference.

    Raises InputError when there is no arm, two arms have the same axes, or the arms share no item.
    """
    if not arms:
        raise InputError("there is no arm to evaluate")
    by_axes = Counter(label(arm.axes) for arm in arms)
    if twice := [name for name, count in by_axes.items() if count > 1]:
        raise InputError(f"two sets of answers are both called {twice[0]}", remedy="tell them apart by an axis of the matrix")
    items, left_out, warnings = _shared(arms)
    by_id = [{row["id"]: row for row in arm.rows} for arm in arms]
    kept = [Arm(arm.axes, [rows[item] for item in items]) for arm, rows in zip(arms, by_id, strict=True)]
    return Aligned(kept, items, left_out, warnings)


def _shared(arms: Sequence[Arm]) -> tuple[list[str], dict[str, int], list[str]]:
    """Ids answered by every arm, with the same question and reference in all; what is left out; warnings."""
    first = {row["id"]: _asked(row) for row in arms[0].rows}
    shared, changed = set(first), set()
    for arm in arms[1:]:
        shared &= {row["id"] for row in arm.rows}
        changed |= {row["id"] for row in arm.rows if row["id"] in first and first[row["id"]] != _asked(row)}
    kept = [row["id"] for row in arms[0].rows if row["id"] in shared - changed]
    everything = {row["id"] for arm in arms for row in arm.rows}
    if not kept:
        counts = "; ".join(f"{label(arm.axes)}: {len(arm.rows)}" for arm in arms)
        raise InputError(
            f"no item was answered by every arm ({counts})" if everything else "the answers are empty",
            remedy="arms are compared on the same questions: give every arm the same split",
        )
    left_out = {"items": len(everything) - len(kept), "changed": len(changed & shared)}
    warnings = []
    if left_out["items"]:
        counts = ", ".join(f"{label(arm.axes)} {len(arm.rows)}" for arm in arms)
        warnings.append(
            f"{left_out['items']} of {len(everything)} items are left out, because not every arm answered the same ones ({counts})"
        )
    if left_out["changed"]:
        warnings.append(f"{left_out['changed']} of them have the same id, but another question, history or reference in some arm")
    return kept, left_out, warnings


def _asked(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get("history") or [], row.get("question"), row["reference"], tuple(row.get("answers") or ())

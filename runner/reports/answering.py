"""Answering: with which settings, and what became of prompts that did not fit into the model's window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.reports.formats import assigned, counted, number
from runner.reports.page import Block, Cell, Column, Fold, Paragraph, Table
from runner.reports.record import Json, Made, Run, count_rows, fact

#: What is done to what does not fit, as answers.json counts it: the column, and what is counted.
_FITTING = {
    "dropped": ("Left out", "passages"),
    "truncated": ("Cut", "passages"),
    "summarised": ("Summarised", "passages"),
    "forgotten": ("Forgotten", "exchanges"),
}
#: Arms in an open table.
OPEN = 12


def blocks(run: Run) -> list[Block]:
    """A row for every arm that answered; settings that all of them share stand above."""
    found = [(made, made.json("answers.json")) for made in run.made("answers")]
    if not found:
        return []
    settings = [_settings(data) for _, data in found]
    shared = {name: value for name, value in settings[0].items() if all(each.get(name, _NONE) == value for each in settings)}
    fitting = [name for name in _FITTING if any(_times(data, name) for _, data in found)]
    columns = [
        Column("Arm", wide=True),
        Column("Model"),
        Column("Passages", True),
        Column("Questions", True),
        Column("Answers cut", True, "at the longest length"),
        *(Column(_FITTING[name][0], True, _FITTING[name][1]) for name in fitting),
        Column("Speed", True, "tokens/s"),
        Column("Otherwise", wide=True),
    ]
    rows = []
    for (made, data), own in zip(found, settings, strict=True):
        questions, cut = count_rows(made.folder / "answers.jsonl"), _cut(made)
        rate = fact(made.instance, "tokens_per_second")[0]
        rows.append(
            [
                Cell(_arm(run, made), href=made.link("answers.jsonl").href),
                Cell(str(data.get("model_step") or "–"), str(data.get("form") or "")),
                Cell(number(data.get("top_k") or 0), str(data.get("selection") or ""), sort=data.get("top_k") or 0),
                Cell(f"{questions:,}", sort=questions),
                Cell(f"{cut:,}", f"{cut / questions:.0%}" if cut and questions else "", sort=cut),
                *(_count(data, name) for name in fitting),
                Cell("–", tone="quiet", sort=-1) if rate is None else Cell(number(rate), sort=rate),
                Cell(assigned({name: value for name, value in own.items() if name not in shared})),
            ]
        )
    if not any(row[-1].text for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    text = f"{'All arms' if len(found) > 1 else 'The arm'} answered with {assigned(shared)}. " if shared else ""
    text += "" if fitting else "Every prompt fitted into its model's window."
    caption = "Passages are those asked of the index for a question; what did not fit is counted over all questions."
    if "forgotten" in fitting:
        caption += " Forgotten are the oldest exchanges of a conversation, left out before any passage."
    table = Table(columns, rows, caption)
    opened: Block = table if len(rows) <= OPEN else Fold(f"How each of the {len(rows)} arms answered", [table])
    return [Paragraph(text.strip()), opened] if text else [opened]


_NONE = object()


def _settings(data: Json) -> dict[str, Any]:
    """Everything that is no count and has no column of its own."""
    told = {"model_step", "form", "top_k", "selection", "summaries", *_FITTING}
    found: dict[str, Any] = {}
    for name, value in data.items():
        if name not in told:
            found |= value if isinstance(value, Mapping) else {"prompt" if name == "prompt_file" else name: value}
    return found


def _times(data: Json, name: str) -> int:
    count = data.get(name)
    return int((count.get(_FITTING[name][1]) if isinstance(count, Mapping) else count) or 0) if isinstance(count, (int, Mapping)) else 0


def _count(data: Json, name: str) -> Cell:
    times, count, summaries = _times(data, name), data.get(name), data.get("summaries") or {}
    questions = count.get("questions") if isinstance(count, Mapping) else None
    detail = [f"in {counted(questions, 'question')}" if questions else ""]
    if name == "summarised" and summaries.get("calls"):
        read, made = (number(summaries.get(f"{part}_tokens") or 0) for part in ("prompt", "answer"))
        detail += [f"by {counted(summaries['calls'], 'call')}", f"{read} → {made} tokens"]
    return Cell(f"{times:,}", "\n".join(filter(None, detail)), sort=times, tone="warn" if times else "")


def _cut(made: Made) -> int:
    """Answers that ended because they had the longest length; by the bytes of their rows, as there may be very many."""
    try:
        with (made.folder / "answers.jsonl").open("rb") as file:
            return sum(b'"finish": "length"' in line for line in file)
    except OSError:
        return 0


def _arm(run: Run, made: Made) -> str:
    axes = made.instance.get("axes") or {}
    several = len({str(each.instance["step"]) for each in run.made("answers")}) > 1
    return " · ".join(part for part in (str(made.instance["step"]) if several or not axes else "", run.arm(axes) if axes else "") if part)

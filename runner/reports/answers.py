"""The questions on which the arms differ most, with what each of them said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.reports.formats import counted, fixed, places_for
from runner.reports.page import Block, Comparison, Given, Heading, Paragraph
from runner.reports.record import Json, Made, Run

#: Questions shown, characters of a text before it is cut, different answers to one question, and arms or references named with one.
QUESTIONS, CHARACTERS, ANSWERS, NAMED = 4, 700, 6, 3


def blocks(run: Run) -> list[Block]:
    """For every evaluation: the items with the largest spread between the best and the worst arm, in the first metric that has one."""
    found: list[Block] = []
    evaluations = run.made("scores")
    for scores in evaluations:
        document = scores.json("scores.json")
        metrics: Sequence[Json] = document.get("metrics") or []
        spread = ((metric, _disagreements(scores, metric["name"])) for metric in metrics)
        telling = next((each for each in spread if each[1]), None)
        if telling is None:
            continue
        metric, shown = telling
        if len(evaluations) > 1:
            found.append(Heading(scores.label))
        title = metric.get("title") or metric["name"]
        places = places_for([value for values in shown.values() for value in values.values()], str(metric.get("unit", "")))
        text = f"The {counted(len(shown), 'question')} with the largest spread of {title} between the arms, the best answers first. "
        found.append(Paragraph(f"{text}They show how the arms differ, not how good they are on average."))
        baseline = _key(document.get("baseline") or {"": ""})
        found.extend(_comparisons(run, run.inputs(scores.instance, "answers"), shown, metric, baseline, places))
    return found


def _key(axes: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(axes.items()))


def _disagreements(scores: Made, metric: str) -> dict[str, dict[Any, float]]:
    """Item -> arm -> value for the items of the largest spread, in falling order."""
    values: dict[str, dict[Any, float]] = {}
    for row in scores.rows("items.jsonl"):
        value = (row.get("values") or {}).get(metric)
        if isinstance(value, (int, float)):
            values.setdefault(str(row["id"]), {})[_key(row.get("axes") or {})] = float(value)
    spread = {item: max(arms.values()) - min(arms.values()) for item, arms in values.items() if len(arms) > 1}
    chosen = sorted((item for item in spread if spread[item] > 0), key=lambda item: (-spread[item], item))
    return {item: values[item] for item in chosen[:QUESTIONS]}


@dataclass
class _Said:
    """The arms that gave one and the same answer to a question."""

    text: str
    href: str
    arms: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    passages: set[str] = field(default_factory=set)
    baseline: bool = False


def _comparisons(
    run: Run, answers: Iterable[Made], shown: Mapping[str, Mapping[Any, float]], metric: Json, baseline: Any, places: int
) -> list[Block]:
    said: dict[str, dict[str, _Said]] = {item: {} for item in shown}
    questions: dict[str, Json] = {}
    for made in answers:
        axes = made.instance.get("axes") or {}
        for row in made.rows("answers.jsonl"):
            item = str(row.get("id"))
            if item in said:
                questions.setdefault(item, row)
                text = str(row.get("answer") or "")
                group = said[item].setdefault(text, _Said(text, made.link("answers.jsonl").href))
                group.arms.append(run.arm(axes))
                group.passages.add(_passages(row))
                group.baseline |= _key(axes) == baseline
                if (score := shown[item].get(_key(axes))) is not None:
                    group.scores.append(score)
    title, sign = metric.get("title") or metric["name"], 1 if metric.get("higher_is_better", True) else -1
    found: list[Block] = []
    for item in (item for item in shown if item in questions):
        groups = sorted(said[item].values(), key=lambda group: -sign * max(group.scores, default=float("-inf")))
        chosen, left_out = _chosen(groups)
        row = questions[item]
        right = dict.fromkeys(str(text) for text in row.get("answers") or [row.get("reference")] if text)
        reference = "; or ".join(_cut(text) for text in list(right)[:NAMED]) or "(none)"
        before = [(str(turn["role"]).capitalize(), _cut(str(turn["content"]))) for turn in row.get("history") or ()]
        given = [_given(group, places) for group in chosen]
        found.append(Comparison(f"{item}, by {title}", _cut(str(row.get("question") or "")), reference, given, left_out, before))
    return found


def _cut(text: str) -> str:
    return text[:CHARACTERS] + (" […]" if len(text) > CHARACTERS else "")


def _chosen(groups: Sequence[_Said]) -> tuple[list[_Said], str]:
    """The best and the worst answers and the baseline's, the best first, and what is not shown, in words."""
    half = (ANSWERS + 1) // 2
    kept = list(range(len(groups))) if len(groups) <= ANSWERS else [*range(half), *range(len(groups) - ANSWERS + half, len(groups))]
    kept += [place for place, group in enumerate(groups) if group.baseline and place not in kept]
    others = [group for place, group in enumerate(groups) if place not in kept]
    arms = sum(len(group.arms) for group in others)
    left_out = f"{counted(len(others), 'answer')} in between, of {counted(arms, 'arm')}, not shown here." if others else ""
    return [groups[place] for place in sorted(kept)], left_out


def _given(group: _Said, places: int) -> Given:
    more = len(group.arms) - NAMED
    arms = "; ".join(group.arms[:NAMED] if more > 0 else group.arms) + (f" and {counted(more, 'other arm')}" if more > 0 else "")
    ends = list(dict.fromkeys(fixed(end, places) for end in (min(group.scores), max(group.scores)))) if group.scores else ["–"]
    passages = "; ".join(group.passages) if len(group.passages) == 1 else "different passages"
    return Given(arms, " to ".join(ends), _cut(group.text) or "(empty)", passages, group.href)


def _passages(row: Json) -> str:
    parts = []
    for hit in row.get("retrieved") or []:
        page = f", page {hit['page']}" if hit.get("page") else ""
        parts.append(f"{hit.get('document') or hit.get('chunk')}{page}")
    return "; ".join(dict.fromkeys(parts))

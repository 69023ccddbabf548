"""The questions on which the arms differ most, with what each of them said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runner.reports.formats import fixed, places_for
from runner.reports.page import Block, Comparison, Given, Heading, Paragraph
from runner.reports.record import Json, Made, Run

#: Questions shown, and characters of an answer before it is cut.
QUESTIONS, CHARACTERS = 4, 700


def blocks(run: Run) -> list[Block]:
    """For every evaluation: the items with the largest spread between the best and the worst arm."""
    found: list[Block] = []
    evaluations = run.made("scores")
    for scores in evaluations:
        metrics = scores.json("scores.json").get("metrics") or []
        shown = _disagreements(scores, metrics[0]["name"]) if metrics else {}
        if not shown:
            continue
        if len(evaluations) > 1:
            found.append(Heading(scores.label))
        title = metrics[0].get("title") or metrics[0]["name"]
        places = places_for([value for values in shown.values() for value in values.values()], str(metrics[0].get("unit", "")))
        text = f"The {len(shown)} questions with the largest spread of {title} between the arms."
        found.append(Paragraph(f"{text} They show how the arms differ, not how good they are on average."))
        found.extend(_comparisons(run, run.inputs(scores.instance, "answers"), shown, title, places))
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


def _comparisons(run: Run, answers: Iterable[Made], shown: Mapping[str, Mapping[Any, float]], title: str, places: int) -> list[Block]:
    given: dict[str, list[Given]] = {item: [] for item in shown}
    questions: dict[str, Json] = {}
    for made in answers:
        axes = made.instance.get("axes") or {}
        for row in made.rows("answers.jsonl"):
            item = str(row.get("id"))
            if item in given:
                questions.setdefault(item, row)
                score = shown[item].get(_key(axes))
                text = str(row.get("answer") or "")
                given[item].append(
                    Given(
                        run.arm(axes),
                        "–" if score is None else fixed(score, places),
                        text[:CHARACTERS] + (" […]" if len(text) > CHARACTERS else "") or "(empty)",
                        _passages(row),
                        made.link("answers.jsonl").href,
                    )
                )
    return [
        Comparison(
            f"{item}, by {title}", str(questions[item].get("question") or ""), str(questions[item].get("reference") or ""), given[item]
        )
        for item in shown
        if item in questions
    ]


def _passages(row: Json) -> str:
    parts = []
    for hit in row.get("retrieved") or []:
        page = f", page {hit['page']}" if hit.get("page") else ""
        parts.append(f"{hit.get('document') or hit.get('chunk')}{page}")
    return "; ".join(dict.fromkeys(parts))

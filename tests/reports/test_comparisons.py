"""What stands behind the scores, made from a real evaluation and shown by the real report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runner.evaluation.arms import Arm
from runner.evaluation.scoring import score
from runner.reports import render
from runner.reports.record import Run
from tests.evaluation.test_scoring import rows
from tests.reports import fake_run

BASELINE = {"system": "base", "rag": "none"}


def arm(system: str, rag: str, right: int, tokens: int = 0) -> Arm:
    found = rows(right=right)
    return Arm({"system": system, "rag": rag}, [{**row, "reference_tokens": row["reference_tokens"] + tokens} for row in found])


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    arms = [
        arm("base", "none", 4),
        arm("base", "index", 8),
        arm("tuned", "none", 20),
        arm("tuned", "index", 30),
        arm("other", "none", 6, 1),
    ]
    document = score(arms, ["exact_match", "held_out_loss"], baseline=BASELINE, breakdowns=["type", "document"]).document
    judging = {"asked": 80, "failed": 2, "pairs": 40, "consistent": 30, "decided": 60, "first": 36}
    return {**document, "judging": judging}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]) -> str:
    folder = fake_run.full(tmp_path_factory.mktemp("store"))
    (made,) = Run.open(folder).made("scores")
    (made.folder / "scores.json").write_text(json.dumps(document))
    record = json.loads((folder / "run.json").read_text())
    [instance] = [each for each in record["instances"] if each["step"] == "scores"]
    took = {"axes": {"rag": "none", "system": "base"}, "mean": 0.5, "low": 0.45, "high": 0.55, "p50": 0.25, "p95": 1.5, "n": 40}
    instance.setdefault("facts", {})["seconds_per_answer"] = {"value": [took], "unit": "seconds"}
    (folder / "run.json").write_text(json.dumps(record))
    render(folder)
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "could not be made" not in report
    return report


def test_the_effects_are_those_of_the_document(text: str, document: dict[str, Any]) -> None:
    found = {(row["axis"], row["to"]): row for row in document["effects"] if row["metric"] == "exact_match"}
    assert found["system", "tuned"]["difference"] == pytest.approx((40 + 55) / 2)
    assert re.search(r"system \| base → tuned \| 2 \| ▲ \+47\.5", text)
    assert re.search(r"rag \| none → index \| 2 \| ▲ \+17\.5", text)
    loss = next(line for line in text.splitlines() if "base → other" in line)
    assert "not comparable" in loss  # another tokenizer: the loss cannot be compared, exact match can
    assert "+5.0" in loss


def test_interactions_say_which_steps_help_each_other(text: str, document: dict[str, Any]) -> None:
    [row] = [row for row in document["interactions"] if row["metric"] == "exact_match" and "tuned" in (*row["from"], *row["to"])]
    [line] = [line for line in text.splitlines() if line.startswith("| base → tuned (system) | none → index (rag)")]
    assert row["difference"] == pytest.approx((30 - 20 - (8 - 4)) / 40 * 100)
    assert "+15.0" in line


def test_what_cannot_be_compared_is_said(text: str) -> None:
    assert "These figures are not comparable" in text
    assert "40 of 40 references have another number of tokens" in text


def test_groups_judge_and_cost_are_shown(text: str, document: dict[str, Any]) -> None:
    for title in ("By type", "By document", "What the arms cost"):
        assert title in text
    [group] = [row for row in document["breakdowns"] if row["group"] == "numeric"]
    value = group["arms"][0]["values"]["exact_match"]
    assert re.search(rf"numeric.*10 items.*{value['mean']:.1f}", text)
    assert "75 % got the same verdict in both orders; the answer that stood first won 60 % of the verdicts that were no tie" in text
    assert "| base | none | 500 ms (450 ms to 550 ms; p50 250 ms, p95 1.5 s) | 19.5 (10 in the prompt) |" in text


def test_scores_of_an_earlier_version_are_still_shown(tmp_path: Path) -> None:
    folder = fake_run.full(tmp_path)
    render(folder)
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "could not be made" not in report
    assert "Axis | Step | Pairs" not in report
